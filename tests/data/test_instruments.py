"""Three instruments from end to end: rendered by name and number, and recorded in a folder each."""

import numpy as np
import pytest
import soundfile
import torch
from models import made_dataset, made_pieces, noise, tiny

from ast_lib.audio import SAMPLE_RATE
from ast_lib.config import override
from ast_lib.data import RecordedDataset, build_dataset
from ast_lib.data.clips import excerpt
from ast_lib.data.manifest import read_manifest, write_manifest
from ast_lib.data.readers import instrument_folders
from ast_lib.data.recordings import make_manifest
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation.systems import evaluate
from ast_lib.networks.checkpoint import load_weights, save_weights
from ast_lib.training import Trainer
from ast_lib.transfer import class_style, transfer

NAMES = ("piano", "violin", "73")  # the flute, by its number
CONFIG = tiny(
    'instruments=["piano", "violin", "73"]',
    "training.batch=6",
    "training.steps=2",
    "training.validate_every=1",
    "training.seconds=0.5",
    "data.development_seconds=0.5",
)


def check_model(model, tmp_path):
    """Save, load, and play one source on each instrument; every result differs from the others."""
    loaded = load_weights(save_weights(tmp_path / "w.safetensors", model, {}, {}))
    assert loaded.config == model.config
    assert torch.pdist(loaded.prototypes).min() > 0
    outputs = [transfer(loaded, noise(0.5), name) for name in loaded.config.instruments]
    for index, output in enumerate(outputs):
        assert np.isfinite(output).all() and output.shape == (SAMPLE_RATE // 2,)
        assert (output == transfer(model, noise(0.5), loaded.config.instruments[index])).all()
        assert all(np.abs(output - other).max() > 1e-4 for other in outputs[:index])


# --- Rendered


def test_three_rendered_instruments_train_evaluate_reload_and_transfer(tmp_path):
    dataset = made_dataset(CONFIG)
    assert dataset.sampler(0)[1].tolist() == [0, 1, 2, 0, 1, 2]
    run = Trainer(CONFIG, dataset, "cpu")
    model = run.fit(progress=False)
    directions = [f"{a}_to_{b}" for a in NAMES for b in NAMES if a != b]
    assert [name for name in run.history[0] if name.startswith("lsd_")] == [f"lsd_{d}" for d in directions]
    assert run.discriminator.content_logits(torch.zeros(1, 4, 64)).shape == (1, 4, 3)
    check_model(model, tmp_path)
    table, audio = evaluate(model, "smoke", dataset.held_out("development"))
    assert sorted(audio) == sorted(directions) == sorted(table["task"].unique())
    scored = table[(table["metric"] == "lsd") & (table["system"] == "smoke")]
    assert scored["value"].notna().all() and set(scored["task"]) == set(directions)


def test_prototypes_are_of_their_own_instrument():
    """The style of clips of an instrument is nearest to that instrument's prototype, once they have been told apart."""
    config = override(CONFIG, "training.steps=30", "training.validate_every=30")
    run = Trainer(config, made_dataset(config), "cpu")
    model = run.fit(progress=False)
    batch = run.batch(10**6 + 50)
    distance = torch.cdist(model.encode_style(batch.features), torch.cat([class_style(model, n) for n in NAMES]))
    assert (distance.argmin(dim=1) == batch.labels).float().mean() >= 5 / 6


# --- Recorded


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """A manifest of three instruments, five files each: other rates, channels, bit depths and formats."""
    root = tmp_path_factory.mktemp("recordings")
    kinds = [
        (8000, 1, "wav", "PCM_U8"),
        (22050, 2, "flac", "PCM_24"),
        (44100, 1, "wav", "FLOAT"),
        (48000, 2, "wav", "PCM_32"),
        (44100, 2, "ogg", "VORBIS"),
    ]
    pieces = iter(made_pieces())
    for name in NAMES:
        (root / name).mkdir()
        for number, (rate, channels, extension, subtype) in enumerate(kinds):
            synth = shared_synth("TimGM6mb", rate)
            notes = excerpt(next(pieces), 1.5, np.random.default_rng(number))
            sound = synth.render(notes, name, 2.5)[rate:]
            path = root / name / f"{name}{number}.{extension}"
            soundfile.write(path, np.tile(sound[:, None], (1, channels)), rate, subtype=subtype)
    found = make_manifest(root / "clips.jsonl", instrument_folders(root).items, seconds=1.4)
    assert found.left_out == {} and len(found.items) == 15
    assert {clip.sample_rate for clip in found.items} == {8000, 22050, 44100, 48000}
    return root / "clips.jsonl"


@pytest.fixture(scope="module")
def recorded(manifest):
    return override(CONFIG, f"data.manifest={manifest}", "data.validation_pieces=2")


def test_three_recorded_instruments_train_reload_and_transfer(recorded, tmp_path):
    dataset = build_dataset(recorded, tmp_path / "no scores are read")
    assert isinstance(dataset, RecordedDataset) and not (tmp_path / "no scores are read").exists()
    audio, labels, *_ = dataset.sampler(0)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.sqrt(np.mean(audio.astype(np.float64) ** 2, axis=1)) == pytest.approx(0.07, rel=1e-3)
    run = Trainer(recorded, dataset, "cpu")
    model = run.fit(tmp_path / "run", progress=False)
    measured = {name for name in run.frame() if name.startswith("lsd_")}
    assert measured == {"lsd_piano_reconstruction", "lsd_violin_reconstruction", "lsd_73_reconstruction"}
    assert np.isfinite(run.frame()[list(measured)].to_numpy()).all()
    check_model(model, tmp_path)


def test_splits_of_recordings_share_no_piece_and_validation_hears_only_its_own(recorded, manifest):
    dataset = build_dataset(recorded, "")
    by_split = {}
    for clip in read_manifest(manifest):
        by_split.setdefault(clip.split, set()).add(clip.piece)
    assert {split: len(pieces) for split, pieces in by_split.items()} == {"train": 9, "validation": 3, "test": 3}
    assert not set.intersection(*by_split.values())
    tasks = dataset.validation_tasks()
    assert [(task.name, task.target) for task in tasks] == [(f"{name}_reconstruction", name) for name in NAMES]
    assert all(task.heard.shape == (2, SAMPLE_RATE // 2) and task.truth is task.heard for task in tasks)


def test_recordings_are_one_voice_an_instrument_whatever_the_soundfonts(recorded):
    config = override(recorded, 'soundfonts=["TimGM6mb", "FluidR3_GM"]')
    assert [instrument for instrument, _ in config.voices] == list(NAMES)
    assert Trainer(config, build_dataset(config, ""), "cpu").model.prototypes.shape == (3, 32)


def test_recordings_train_with_the_recipe_and_no_source_is_moved(recorded):
    """Latencies and players belong to what is rendered; rooms and timbres change recordings too."""
    recipe = override(recorded, "model.align_onsets=true", "training.domain_randomisation=true")
    dataset = build_dataset(recipe, "")
    assert dataset.latencies() == [0.0, 0.0, 0.0]
    cut = dataset.sampler(0)
    assert np.array_equal(cut.clip, cut.heard) and np.array_equal(cut.label, cut.heard_label)
    run, plain = Trainer(recipe, dataset, "cpu"), override(recipe, "training.domain_randomisation=false")
    assert not run.model.latency.any()
    assert all(np.isfinite(value) for value in run.train_step(run.batch(0)).values())
    twin = Trainer(plain, dataset, "cpu")
    pairs = [(run.batch(step).features, twin.batch(step).features) for step in range(3)]
    assert not all(torch.equal(changed.stft_magnitude, same.stft_magnitude) for changed, same in pairs)


def test_what_recordings_cannot_do_is_said(recorded, tmp_path):
    with pytest.raises(
        AstError, match="data.manifest: found .*clips.jsonl', accepted for development clips on all instruments is ''"
    ):
        build_dataset(recorded, "").held_out("development")
    with pytest.raises(AstError, match="instrument cello: found no clip in the split 'train'"):
        build_dataset(override(recorded, 'instruments=["piano", "violin", "cello"]'), "")
    with pytest.raises(AstError, match="none.jsonl: no such manifest"):
        build_dataset(override(recorded, f"data.manifest={tmp_path}/none.jsonl"), "")


def test_files_that_changed_since_are_named_and_counted_before_training(recorded, manifest, tmp_path):
    sound = np.tile(noise(1.5), 2)
    for name in ("gone", "empty", "short", "good"):
        soundfile.write(tmp_path / f"{name}.wav", sound, SAMPLE_RATE)
    clip = read_manifest(manifest)[0]
    clips = [
        clip.__class__(**(vars(clip) | {"id": name, "path": str(tmp_path / f"{name}.wav")}))
        for name in ("gone", "empty", "short", "good")
    ]
    write_manifest(tmp_path / "m.jsonl", clips)
    (tmp_path / "gone.wav").unlink()
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "short.wav", sound[:22050], SAMPLE_RATE)
    with pytest.raises(AstError) as error:
        build_dataset(override(recorded, f"data.manifest={tmp_path}/m.jsonl"), "")
    message = str(error.value)
    assert message.startswith("manifest: 3 of 4 files cannot be used (") and "good.wav" not in message
    for part in (
        "gone.wav: no such file",
        "empty.wav: not readable as audio",
        "short.wav: found 0.95 s from 0.05 s on",
    ):
        assert part in message
