"""The Bach Violin Dataset: the real part of it where it is at hand, and a made-up one for everything else."""

import pathlib

import numpy as np
import pandas as pd
import pytest
import soundfile

from ast_lib.audio import SAMPLE_RATE
from ast_lib.audio.levels import RMS
from ast_lib.data import bach_violin
from ast_lib.data.recordings import assign_splits, cut
from ast_lib.data.scores import Notes
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation import metrics

REAL = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "bach-violin"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the part of the Bach Violin Dataset is not beside the repository")


@pytest.fixture(scope="module")
def player():
    return shared_synth()


def performance(seconds, low, seed):
    """Notes of 0.4 s, every half second, over two octaves."""
    rng, onset = np.random.default_rng(seed), np.arange(0.5, seconds - 0.5, 0.5)
    return Notes(onset, np.full(len(onset), 0.4), low + rng.integers(0, 24, len(onset)), np.full(len(onset), 90))


def write_movement(root, collection, name, notes):
    for folder, columns in (
        ("notes", {"onset": range(len(notes)), "offset": range(1, len(notes) + 1), "pitch": notes.pitch,
                   "velocity": notes.velocity}),
        ("alignments", {"start": notes.onset, "end": notes.onset + notes.duration}),
    ):  # fmt: skip
        (root / folder / collection).mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_csv(root / folder / collection / f"{name}.csv", index=False)


AUDIO = "filename,collection,violinist,license\n"
INFO = "filename,collection,work,mov,source_filename,start,end,baroque_tuning\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory, player):
    """Two players: one file with two movements after 3 s of other music, and one file in baroque tuning."""
    root = tmp_path_factory.mktemp("bach")
    first, second, third = performance(20, 60, 1), performance(16, 62, 2), performance(15, 64, 3)
    other = performance(3, 75, 4)
    parts = [
        player.render(other, "piano", 3.0),
        player.render(first, "piano", 20.0),
        player.render(second, "piano", 16.0),
    ]
    (root / "audio" / "one").mkdir(parents=True)
    (root / "audio" / "two").mkdir()
    soundfile.write(root / "audio" / "one" / "one_bwv1002.wav", np.concatenate(parts), SAMPLE_RATE)
    lower = Notes(third.onset, third.duration, third.pitch - 1, third.velocity)
    soundfile.write(root / "audio" / "two" / "two_bwv1003.wav", player.render(lower, "piano", 15.0), SAMPLE_RATE)
    (root / "audio.csv").write_text(
        AUDIO + "one_bwv1002.wav,one,A,PD\ntwo_bwv1003.wav,two,B,CC BY-NC\ngone_bwv1004.opus,three,C,-\n"
    )
    (root / "info.csv").write_text(
        INFO
        + "one_bwv1002_mov1,one,BWV1002,1,one_bwv1002.wav,0:00:03,0:00:23,0\n"
        + "one_bwv1002_mov2,one,BWV1002,2,one_bwv1002.wav,0:00:23,0:00:39,0\n"
        + "two_bwv1003_mov3,two,BWV1003,3,two_bwv1003.wav,0:00:00,0:00:15,1\n"
        + "gone_bwv1004_mov1,three,BWV1004,1,gone_bwv1004.opus,0:00:16,0:05:07,1\n"
        + "gone_bwv1004_mov2,three,BWV1004,2,gone_bwv1004.opus,0:05:10,0:07:44,1\n"
    )
    write_movement(root, "one", "one_bwv1002_mov1", first)
    write_movement(root, "one", "one_bwv1002_mov2", second)
    write_movement(root, "two", "two_bwv1003_mov3", third)
    return root


# --- the tables


def test_movements_with_their_licence_and_times(made):
    found = bach_violin.recordings(made)
    assert [(r.id, r.piece, r.licence, r.start, r.end) for r in found.items] == [
        ("bach-violin/one_bwv1002_mov1", "BWV1002 mov1", "PD", 3, 23),
        ("bach-violin/one_bwv1002_mov2", "BWV1002 mov1", "PD", 23, 39),
        ("bach-violin/two_bwv1003_mov3", "BWV1003 mov3", "CC BY-NC", 0, 15),
    ]
    # One file, though two movements are in it.
    assert found.left_out == {"missing": ["gone_bwv1004.opus"]}


def test_licence_filter(made):
    found = bach_violin.recordings(made, licences=["PD"])
    assert {r.licence for r in found.items} == {"PD"} and len(found.items) == 2
    assert found.left_out == {"licence": ["two_bwv1003.wav", "gone_bwv1004.opus"]}
    # A licence that no file has accepts none.
    assert not bach_violin.recordings(made, licences=["CC0"]).items


def test_a_double_is_a_piece_with_its_movement():
    pieces = [bach_violin.piece_of("BWV1002", movement) for movement in range(1, 9)]
    assert pieces == [f"BWV1002 mov{i}" for i in (1, 1, 3, 3, 5, 5, 7, 7)]
    assert [bach_violin.piece_of("BWV1006", movement) for movement in (1, 2)] == ["BWV1006 mov1", "BWV1006 mov2"]


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("info.csv", "0:00:23,0:00:39", "0:23,0:00:39", "info.csv: .*'0:23' does not match format '%H:%M:%S'"),
        ("info.csv", "0:00:23,0:00:39", "0:00:23,0:00:99", "info.csv: .*unconverted data remains: 9"),
        ("info.csv", "BWV1003,3", "BWV1003,three", "info.csv: .*'three'"),
        ("info.csv", "source_filename", "source", "info.csv: not a table with .*not found: .'source_filename'"),
        ("audio.csv", "license", "licence", "audio.csv: not a table with .*not found: .'license'"),
        ("audio.csv", AUDIO, "", "audio.csv: not a table with the columns filename, license"),
    ],
)
def test_wrong_tables_are_named_with_the_value(made, tmp_path, table, old, new, message):
    for name in ("info.csv", "audio.csv"):
        text = (made / name).read_text()
        assert name != table or old in text
        (tmp_path / name).write_text(text.replace(old, new) if name == table else text)
    with pytest.raises(AstError, match=message):
        bach_violin.recordings(tmp_path)


def test_a_movement_that_ends_before_it_starts_is_left_out_as_too_short(made, tmp_path):
    (tmp_path / "audio.csv").write_text((made / "audio.csv").read_text())
    (tmp_path / "info.csv").write_text((made / "info.csv").read_text().replace("0:00:23,0:00:39", "0:00:23,0:00:20"))
    (tmp_path / "audio").symlink_to(made / "audio")
    assert cut(bach_violin.recordings(tmp_path).items).left_out == {
        "shorter than a clip": ["bach-violin/one_bwv1002_mov2"]
    }


def test_tables_of_a_windows_editor(made, tmp_path):
    for name in ("info.csv", "audio.csv"):
        (tmp_path / name).write_bytes((made / name).read_text().replace("\n", "\r\n").encode("utf-8-sig"))
    missing = ["one_bwv1002.wav", "two_bwv1003.wav", "gone_bwv1004.opus"]
    assert bach_violin.recordings(tmp_path).left_out == {"missing": missing}
    (tmp_path / "audio.csv").write_bytes((made / "audio.csv").read_text().encode("utf-16"))
    with pytest.raises(AstError, match="audio.csv: not a table .*utf-8"):
        bach_violin.recordings(tmp_path)


@pytest.mark.parametrize("content", [b"", b'filename,"collection\n', b"\xff\xfe\xfa"])
def test_what_is_not_a_table_is_refused(tmp_path, content):
    with pytest.raises(AstError, match="audio.csv: not a table .*No such file"):
        bach_violin.recordings(tmp_path)
    (tmp_path / "audio.csv").write_bytes(content)
    with pytest.raises(AstError, match="audio.csv: not a table"):
        bach_violin.recordings(tmp_path)


@real
def test_the_real_tables(tmp_path):
    found = bach_violin.recordings(REAL)
    assert [(r.id, r.piece, r.licence) for r in found.items] == [
        ("bach-violin/john-garner_bwv1002_mov6", "BWV1002 mov5", "CC BY"),
        ("bach-violin/john-garner_bwv1002_mov7", "BWV1002 mov7", "CC BY"),
        ("bach-violin/john-garner_bwv1002_mov8", "BWV1002 mov7", "CC BY"),
        ("bach-violin/minji-kim_bwv1003_mov3", "BWV1003 mov3", "CC BY"),
    ]
    # 42 recordings are listed, 4 are here.
    assert len(found.left_out["missing"]) == 38 and "emil-telmanyi_bwv1001.mp3" in found.left_out["missing"]
    assert str(found).startswith("4 kept; 38 left out: missing (emil-telmanyi_bwv1001.mp3, ")
    with_licence = bach_violin.recordings(REAL, licences=["PD"])
    assert not with_licence.items and len(with_licence.left_out["missing"]) == 7


@real
def test_the_whole_dataset_splits_by_movement(tmp_path):
    """Empty files stand for the 38 recordings that are not here: all 105 movements, whoever plays them."""
    for name in ("audio.csv", "info.csv"):
        (tmp_path / name).write_bytes((REAL / name).read_bytes())
    for row in pd.read_csv(REAL / "audio.csv").itertuples():
        (tmp_path / "audio" / row.collection).mkdir(parents=True, exist_ok=True)
        (tmp_path / "audio" / row.collection / row.filename).touch()
    found = bach_violin.recordings(tmp_path)
    assert len(found.items) == 105 and not found.left_out
    assert len({r.piece for r in found.items}) == 28 and len({r.path for r in found.items}) == 42
    with pytest.raises(AstError, match="105 of 105 are unreadable"):
        cut(found.items)


@real
def test_real_recordings_become_clips():
    found = cut(bach_violin.recordings(REAL).items)
    assert len(found.items) == 12 and not found.left_out
    assert {c.sample_rate for c in found.items} == {44100, 48000}
    assert all(0.05 < c.rms < 0.2 for c in found.items)
    dealt = {c.piece: c.split for c in assign_splits(found.items, seed=0)}
    assert sorted(dealt.values()) == ["test", "train", "validation"]


# --- alignments


def test_aligned_notes_are_the_scores_at_the_players_times(made):
    notes, played = bach_violin.aligned_notes(made, "one", "one_bwv1002_mov1"), performance(20, 60, 1)
    for field in ("onset", "duration", "pitch", "velocity"):
        assert getattr(notes, field) == pytest.approx(getattr(played, field))


def test_notes_are_sorted_and_never_shorter_than_audible(tmp_path):
    for folder, text in (
        ("notes", "onset,offset,pitch,velocity\n0,1,60,64\n0,1,55,64\n1,2,62,70\n"),
        ("alignments", "start,end\n2.0,2.0\n1.0,1.5\n1.0,0.9\n"),
    ):
        (tmp_path / folder / "c").mkdir(parents=True)
        (tmp_path / folder / "c" / "m.csv").write_text(text)
    notes = bach_violin.aligned_notes(tmp_path, "c", "m")
    assert notes.onset.tolist() == [1, 1, 2] and notes.pitch.tolist() == [55, 62, 60]
    assert notes.duration == pytest.approx([0.5, 0.05, 0.05]) and notes.velocity.tolist() == [64, 70, 64]


@pytest.mark.parametrize(
    ("folder", "text", "message"),
    [
        ("alignments", "start,end\n1,2\n", "c/m.csv: found 1 rows of alignments, accepted are as many as of notes, 2"),
        ("alignments", "start,end\n1,2\nx,3\n", "alignments/c/m.csv: not a table .*'x'"),
        ("alignments", "start,end\n1,2\nnan,3\n", "durations must be above 0"),
        ("alignments", "start\n1\n2\n", "alignments/c/m.csv: not a table .*'end'"),
        ("notes", "onset,offset,pitch,velocity\n0,1,60,\n0,1,6,7\n", "notes/c/m.csv: not a table .*''"),
        ("notes", "onset,offset,pitch,velocity\n0,1,190,9\n0,1,6,7\n", "pitches within 0..127"),
    ],
)
def test_wrong_alignments_are_named(tmp_path, folder, text, message):
    for name, good in (
        ("notes", "onset,offset,pitch,velocity\n0,1,60,64\n1,2,62,64\n"),
        ("alignments", "start,end\n0,1\n1,2\n"),
    ):
        (tmp_path / name / "c").mkdir(parents=True)
        (tmp_path / name / "c" / "m.csv").write_text(text if name == folder else good)
    with pytest.raises(AstError, match=message):
        bach_violin.aligned_notes(tmp_path, "c", "m")


def test_a_pair_is_the_same_music_at_the_same_time(made, player):
    """The made-up player is the synth's piano, so the truth must be what is on the record, lowered tuning included."""
    pairs = bach_violin.aligned_pairs(made, 10.0, player)
    assert [p.piece for p in pairs] == ["one_bwv1002_mov1#1", "one_bwv1002_mov2#1", "two_bwv1003_mov3#1"]
    for pair in pairs:
        played, rendered = pair.audio["violin"], pair.audio["piano"]
        assert played.shape == rendered.shape == (10 * SAMPLE_RATE,)
        for signal in (played, rendered):
            assert np.sqrt(np.mean(np.square(signal, dtype=np.float64))) == pytest.approx(RMS, rel=1e-4)
        assert metrics.onset_f1(played, pair.notes) > 0.95 and metrics.onset_f1(rendered, pair.notes) > 0.95
        assert metrics.chroma_cosine(rendered, played) > 0.98
        assert metrics.lsd(rendered, played) < 5
        assert 0 <= pair.notes.onset.min() and pair.notes.end <= 10 and len(pair.notes) == pytest.approx(20, abs=1)
    third = performance(15, 64, 3)
    # The window of the third is its middle, 2.5 s to 12.5 s; the violin in baroque tuning is a semitone down.
    inside = (third.onset >= 2.5) & (third.onset < 12.5)
    np.testing.assert_array_equal(pairs[2].notes.pitch, third.pitch[inside] - 1)
    assert pairs[2].notes.onset == pytest.approx(third.onset[inside] - 2.5)


def test_a_note_that_began_before_the_clip_is_in_it(made, player):
    # A window of 3 s in the 20 s movement, three of them: the first starts at 20/6 - 1.5 s = 1.83 s.
    pair = bach_violin.aligned_pairs(made, 2.0, player)[0]
    assert pair.piece == "one_bwv1002_mov1#1" and pair.notes.onset[0] == pytest.approx(0, abs=1e-9)
    # 20/6 - 1 = 2.333: the note of 2.0 s lasts until 2.4.
    assert pair.notes.duration[0] == pytest.approx(2.4 - (20 / 6 - 1))
    assert pair.notes.onset[1] == pytest.approx(2.5 - (20 / 6 - 1))


def test_pairs_need_alignments_and_another_instrument(made, tmp_path, player):
    with pytest.raises(AstError, match="instrument: found 'violin'"):
        bach_violin.aligned_pairs(made, 5.0, player, "violin")
    with pytest.raises(AstError, match="found no movement with audio, notes and alignment of 60 s or more"):
        bach_violin.aligned_pairs(made, 60.0, player)


@real
def test_real_violin_and_its_notes_on_the_piano(player):
    """Right notes at the right time: the chroma agrees as it stands and not when one is a second late.

    Two of the four movements start 1 s into their file, so a reader that took alignments for times in the file would
    fail here.
    """
    pairs = bach_violin.aligned_pairs(REAL, 10.0, player)
    assert len(pairs) == 12 and len({p.piece.split("#")[0] for p in pairs}) == 4
    for pair in pairs:
        violin, piano = pair.audio["violin"], pair.audio["piano"]
        assert violin.shape == piano.shape == (10 * SAMPLE_RATE,) and violin.dtype == piano.dtype == np.float32
        together = metrics.chroma_cosine(violin, piano)
        apart = [metrics.chroma_cosine(violin, np.roll(piano, shift * SAMPLE_RATE)) for shift in (-1, 1)]
        assert together > 0.65 and max(apart) < together - 0.15
        assert metrics.onset_f1(piano, pair.notes) > 0.95
    monophonic = [p for p in pairs if p.notes.monophonic]
    assert len(monophonic) == 5
    assert np.mean([metrics.raw_pitch_accuracy(p.audio["violin"], p.notes) for p in monophonic]) > 0.65
