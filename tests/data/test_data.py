"""From a configuration to data: splits, batches and held-out clips of the smoke preset."""

import numpy as np
import pytest
import torch
from models import made_dataset, tiny

from ast_lib.audio import SAMPLE_RATE
from ast_lib.audio.levels import RMS
from ast_lib.config import DataConfig, override, preset
from ast_lib.data import build_dataset, stack_audio
from ast_lib.data.clips import PLAYABLE
from ast_lib.data.duplicates import near_duplicates
from ast_lib.data.pool import NO_VOICE
from ast_lib.data.scores import load_pieces
from ast_lib.errors import AstError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("scores")


@pytest.fixture(scope="module")
def dataset(cache):
    return build_dataset(preset("smoke"), cache)


def names(pieces):
    return {piece.name for piece in pieces}


def test_no_piece_is_in_two_parts_and_only_variants_of_held_out_ones_are_left_out(cache, dataset):
    splits, per_kind = dataset.splits, dataset.config.data.pieces_per_kind
    parts = [*splits.train.values(), splits.validation, splits.development]
    everything = [piece.name for part in parts for piece in part]
    assert len(everything) == len(set(everything))
    missing = [piece for piece in load_pieces(per_kind, cache) if piece.name not in everything]
    assert near_duplicates(missing, splits.validation + splits.development) == names(missing)
    trained = [piece for part in splits.train.values() for piece in part]
    assert near_duplicates(trained, splits.validation + splits.development) == set()
    assert list(splits.train) == ["piano", "violin"] and len(everything) + len(missing) == 2 * per_kind


def test_as_many_are_held_out_as_asked_for_half_of_each_kind(dataset):
    for part in (dataset.splits.validation, dataset.splits.development):
        assert sorted(piece.kind for piece in part) == ["chorale", "fiddle"]


def test_the_seed_deals_the_pieces(cache, dataset, monkeypatch):
    again = build_dataset(preset("smoke"), cache)
    monkeypatch.setattr(DataConfig, "seed", 1)
    other = build_dataset(preset("smoke"), cache)
    assert names(again.splits.development) == names(dataset.splits.development)
    assert names(again.splits.train["piano"]) == names(dataset.splits.train["piano"])
    assert names(other.splits.train["piano"]) != names(dataset.splits.train["piano"])


def test_batches_have_the_configured_shape_and_loudness(dataset):
    audio, labels, *heard = dataset.sampler(0)
    assert audio.shape == (4, SAMPLE_RATE) and audio.dtype == np.float32
    assert labels.tolist() == [0, 1, 0, 1]
    assert heard[0].shape == audio.shape and set(heard[1].tolist()) <= {0, 1, NO_VOICE}
    assert np.sqrt(np.mean(audio.astype(np.float64) ** 2, axis=1)) == pytest.approx(RMS, rel=1e-3)


@pytest.mark.parametrize(("split", "seconds"), [("validation", 1.0), ("development", 2.0)])
def test_held_out_clips_are_of_their_split_on_every_instrument(dataset, split, seconds):
    clips = dataset.held_out(split)
    assert {clip.piece for clip in clips} == names(getattr(dataset.splits, split))
    assert sorted(clip.kind for clip in clips) == ["duet", "fiddle"]
    for clip in clips:
        assert set(clip.audio) == {"piano", "violin"} and set(clip.notes.pitch) <= set(PLAYABLE)
        assert all(audio.shape == (round(seconds * SAMPLE_RATE),) for audio in clip.audio.values())
        assert clip.notes.end <= seconds + 1e-9
        assert not np.allclose(clip.audio["piano"], clip.audio["violin"], atol=1e-2)


@pytest.mark.parametrize("split", ["validation", "development"])
def test_the_extension_is_of_the_same_pieces_and_shows_whole_chorales(dataset, split):
    (whole,) = dataset.held_out(split, extension=True)
    (duet,) = [clip for clip in dataset.held_out(split) if clip.kind == "duet"]
    assert whole.kind == "chorale" and whole.piece == duet.piece
    assert len(whole.notes) > len(duet.notes) and whole.notes.pitch.min() < PLAYABLE[0]


def test_held_out_clips_do_not_depend_on_what_was_rendered_before(dataset):
    first = dataset.held_out("development")
    dataset.sampler(5)
    for clip, again in zip(first, dataset.held_out("development"), strict=True):
        assert all((clip.audio[instrument] == again.audio[instrument]).all() for instrument in clip.audio)


@pytest.mark.parametrize("split", ["train", "test"])
def test_there_are_no_other_splits(dataset, split):
    with pytest.raises(KeyError):
        dataset.held_out(split)


def test_stacked_audio_is_one_row_a_clip(dataset):
    clips = dataset.held_out("development")
    for instrument in ("piano", "violin"):
        stacked = stack_audio(clips, instrument)
        assert stacked.shape == (2, 2 * SAMPLE_RATE) and stacked.dtype == torch.float32
        assert all((row.numpy() == clip.audio[instrument]).all() for row, clip in zip(stacked, clips, strict=True))
    assert stack_audio(clips[:1], "piano").shape == (1, 2 * SAMPLE_RATE)


def test_more_pieces_than_there_are_or_too_few_are_refused(cache):
    with pytest.raises(AstError, match="pieces"):
        build_dataset(override(preset("smoke"), "data.pieces_per_kind=3"), cache)


def test_a_missing_soundfont_is_named(cache):
    with pytest.raises(AstError, match="none.sf2"):
        build_dataset(override(preset("smoke"), 'soundfonts=["/none.sf2"]'), cache)


def test_an_instrument_that_the_synth_does_not_know_is_named(cache):
    with pytest.raises(AstError, match="instrument: found 'kazoo', accepted are piano, violin and the other General-"):
        build_dataset(override(preset("smoke"), 'instruments=["piano", "kazoo"]'), cache)


def test_one_instrument_under_two_names_is_refused(cache):
    with pytest.raises(AstError, match=r"instruments: found \('flute', '73'\), accepted are different"):
        build_dataset(override(preset("smoke"), 'instruments=["flute", "73"]'), cache)


def test_made_up_pieces_make_the_same_kind_of_dataset():
    made = made_dataset(tiny())
    assert names(made.splits.development).isdisjoint(names(made.splits.train["piano"]))
    assert made.sampler(0)[0].shape == (4, SAMPLE_RATE)
