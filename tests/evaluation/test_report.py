"""The report: from which clips, and what is measured on tables whose figures can be worked out by hand."""

import re

import numpy as np
import pandas as pd
import pytest
from models import made_dataset, tiny, untrained

from ast_lib.data import synth
from ast_lib.errors import AstError
from ast_lib.evaluation import report, systems
from ast_lib.evaluation.report import UNSEEN, experiments, material, measurements, spread

CONFIG = tiny("data.development_pieces=4", "data.validation_pieces=2", "data.development_seconds=1.5")


@pytest.fixture(scope="module")
def given():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "build_splits", lambda config, cache: made_dataset(config).splits)
        yield material(CONFIG, excerpts=2)


def test_items_are_spread_evenly_and_in_order():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread(list(range(3)), 5) == spread(list(range(3)), None) == [0, 1, 2]


def test_no_soundfont_plays_because_it_is_installed(given):
    assert list(given.voices) == ["TimGM6mb", UNSEEN]
    assert list(given.lessons) == [UNSEEN]


@pytest.fixture
def no_synth():
    """No synth that another test has loaded, and none that this one leaves."""
    synth.shared_synth.cache_clear()
    yield
    synth.shared_synth.cache_clear()


def test_a_soundfont_that_is_asked_for_must_be_known_and_there(monkeypatch, tmp_path, no_synth):
    monkeypatch.setattr(synth, "SOUNDFONT_FOLDERS", (str(tmp_path),))
    with pytest.raises(AstError, match="soundfont: found no file Fluid; accepted are a path, .*FluidR3_GM, MuseScore"):
        material(CONFIG, soundfonts=["Fluid"])
    missing = f"soundfont: found no file FluidR3_GM.sf2; looked in {tmp_path}; run: apt-get install fluid-soundfont-gm"
    with pytest.raises(AstError, match=re.escape(missing)):
        material(CONFIG, soundfonts=["FluidR3_GM"])


def test_a_soundfont_that_is_asked_for_plays_and_teaches(monkeypatch, tmp_path, no_synth):
    """Here the default soundfont under another name."""
    (tmp_path / "FluidR3_GM.sf2").symlink_to(synth.soundfont_path("TimGM6mb"))
    monkeypatch.setattr(synth, "SOUNDFONT_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(report, "build_splits", lambda config, cache: made_dataset(config).splits)
    given = material(CONFIG, clips=2, excerpts=1, soundfonts=["FluidR3_GM", "FluidR3_GM"])
    assert list(given.voices) == ["TimGM6mb", "FluidR3_GM", UNSEEN]
    assert list(given.lessons) == ["FluidR3_GM", UNSEEN]


def test_every_soundfont_plays_the_same_notes_and_the_last_is_the_one_left_out(given):
    assert list(given.voices)[0] == "TimGM6mb" and list(given.voices)[-1] == UNSEEN
    expected = made_dataset(CONFIG).held_out("development")
    for clips in given.voices.values():
        assert [clip.piece for clip in clips] == [clip.piece for clip in expected]
        for clip, other in zip(clips, expected, strict=True):
            assert np.array_equal(clip.notes.onset, other.notes.onset)
    for clip, other in zip(given.voices["TimGM6mb"], expected, strict=True):
        assert all(np.array_equal(clip.audio[name], other.audio[name]) for name in ("piano", "violin"))
    assert not np.allclose(given.voices[UNSEEN][0].audio["piano"], given.voices["TimGM6mb"][0].audio["piano"])


def test_no_piece_teaches_what_it_is_tested_on(given):
    splits = made_dataset(CONFIG).splits
    development = {piece.name for piece in splits.development}
    assert {clip.piece for clip in given.styles} == {piece.name for piece in splits.validation}
    assert "TimGM6mb" not in given.lessons and UNSEEN in given.lessons
    for clips in given.lessons.values():
        assert not development & {clip.piece for clip in clips}
    assert {clip.piece for clip in given.probes} == development | {piece.name for piece in splits.validation}
    assert len(given.probes) == 2 * 6


def test_weights_that_know_the_voice_left_out_are_refused():
    with pytest.raises(AstError, match="soundfonts: found Merlin"):
        material(tiny(f'soundfonts=["TimGM6mb", "{UNSEEN}"]', "training.batch=12"))


def test_a_model_is_measured_in_every_task(given):
    tables, probed, audio = experiments(untrained(CONFIG), "model", given)
    found = measurements(tables, probed, "model")
    assert list(found.columns) == ["measurement", "task", "value", "low", "high"]
    for text in ("default soundfont", "left out (dB)", "than prototype", "predicted phase", "chroma", "raw pitch"):
        rows = found[found["measurement"].str.contains(text, regex=False)]
        assert rows["task"].tolist() == ["piano_to_violin", "violin_to_piano"], text
    assert (found["task"] == "probe").sum() == 7
    assert found["value"].notna().all() and (found["low"] <= found["high"]).all()
    assert sorted(audio) == ["piano_to_violin", "violin_to_piano"]
    one = tables["one_shot"]
    assert set(one["system"]) >= {"source_copy", "ceiling", "model_prototype", "model_one_shot", "voice_timgm6mb"}
    listener = tables["listener"].groupby("system")["value"].mean()
    assert listener["truth"] > listener["source_copy"]


def rows(system, metric, values):
    return [
        ("piano_to_violin", system, f"piece {i}", "fiddle", metric, value)
        for i, of_piece in enumerate(values)
        for value in np.atleast_1d(of_piece)
    ]


def table(*parts):
    columns = ["task", "system", "piece", "kind", "metric", "value"]
    return pd.DataFrame([row for part in parts for row in part], columns=columns)


def known():
    """Tables of three pieces whose every figure can be worked out by hand, and a table of probes."""
    tables = {
        "default": table(
            rows("model", "lsd", [8.5, 8.5, 8.5]),
            rows("model_predicted_phase", "lsd", [9.0, 9.5, 9.1]),
            rows("model", "chroma_cosine", [0.9, 0.95, 0.85]),
            rows("model", "raw_pitch_accuracy", [0.8, 0.9, 0.7]),
            rows("truth", "raw_pitch_accuracy", [0.8, 0.9, 0.8]),
            rows("model", "envelope_correlation", [[1.0, 1.0, 1.0], [0.2], []]),
        ),
        "unseen_source": table(rows("model", "lsd", [9.0, 9.5, 10.6])),
        "one_shot": table(
            rows("model_one_shot", "lsd", [8.0, 9.0, 10.0]),
            rows("model_prototype", "lsd", [10.0, 10.0, 12.0]),
            rows("voice_timgm6mb", "lsd", [7.0, 9.0, 10.0]),
        ),
        "listener": table(rows("model", "called_target", [1.0, 1.0, 1.0])),
    }
    probed = pd.DataFrame(
        [
            ("logistic", 0.6, 0.55, 0.65, 0.5, "instrument", "content", np.nan),
            ("logistic", 0.7, 0.65, 0.75, 0.5, "instrument", "content_pooled", np.nan),
            ("logistic", 1.0, 1.0, 1.0, 0.5, "instrument", "style", np.nan),
            ("logistic", 0.9, 0.88, 0.92, 0.25, "pitch_class", "content", np.nan),
            ("logistic", 0.26, 0.24, 0.28, 0.25, "pitch_class", "style", 0.27),
        ],
        columns=["probe", "accuracy", "low", "high", "chance", "read", "code", "shuffled"],
    )
    return tables, probed


def test_known_figures_are_measured():
    tables, probed = known()
    found = measurements(tables, probed, "model").set_index("measurement")
    values = {
        "LSD, default soundfont (dB)": 8.5,
        "LSD, predicted phase above refined (dB)": 0.7,
        "LSD, source on a soundfont left out (dB)": 9.7,
        "one-shot closer than prototype by (dB)": 5 / 3,
        "chroma cosine": 0.9,
        "raw pitch accuracy over the truth's own": 2.4 / 2.5,
        "envelope correlation of notes of 1 s or more": 0.8,  # of four notes, not of two pieces
        "outputs called the target": 1.0,
        "instrument read from content": 0.6,
        "instrument read from content_pooled": 0.7,
        "instrument read from style": 1.0,
        "pitch class read from content": 0.9,
        "pitch class read from style": 0.26,
    }
    assert list(found.index) == list(values)  # no onsets were measured
    assert found["value"].tolist() == pytest.approx(list(values.values()))
    assert found.loc["pitch class read from content", ["low", "high"]].tolist() == [0.88, 0.92]
    assert found.loc["LSD, predicted phase above refined (dB)", ["low", "high"]].tolist() == pytest.approx([0.5, 1.0])


def test_whole_chorales_are_an_extension_and_nothing_else_is(given):
    assert {clip.kind for clip in given.extension} == {"chorale"}
    assert {clip.kind for clip in given.voices["TimGM6mb"]} == {"fiddle", "duet"}
    clips, chosen = given.extension, ("lsd", "chroma_cosine", "onset_f1")
    table = systems.transfers(untrained(CONFIG), "model", clips, clips, chosen)
    assert set(table["kind"]) == {"chorale"}
    assert set(table["metric"]) == {"lsd", "chroma_cosine", "onset_f1"}
    assert set(table[table["metric"] == "lsd"]["system"]) == {"source_copy", "ceiling", "model"}
    lsd = table[table["metric"] == "lsd"].groupby("system")["value"].mean()
    assert lsd["ceiling"] < lsd["source_copy"]
