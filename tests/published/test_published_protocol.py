"""The published evaluation and a sound one: what each compares, and what a system that learnt nothing scores."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from models import made_dataset
from published_models import SMALL_PAPER

from ast_lib.config import override
from ast_lib.data.dataset import stack_audio
from ast_lib.errors import AstError
from ast_lib.published import protocol
from ast_lib.published.config import preset
from ast_lib.published.model import PublishedModel

CONFIG = override(SMALL_PAPER, "data.development_pieces=4", "data.development_seconds=1.5")
SYSTEMS = {"perfect_decoder", "source_copy", "another_piece", "constant_spectrum", "silence"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = PublishedModel(CONFIG).eval().requires_grad_(False)
    clips, voices = (torch.from_numpy(array) for array in made_dataset(CONFIG).sampler(0)[:2])
    model.fit_statistics(dataclasses.replace(model.representation.whole(clips), voices=voices))
    model.prototypes.normal_()
    return model


@pytest.fixture(scope="module")
def clips():
    return made_dataset(CONFIG).held_out("development")


@pytest.fixture(scope="module")
def tables(model, clips):
    both = (rows(model, clips, "paper") for rows in (protocol.published, protocol.sound))
    return {table["protocol"][0]: table for table in both}


def means(table):
    return table.groupby(["task", "system", "metric"])["value"].mean()


def test_both_protocols_have_the_rows_of_the_paper_and_of_what_learnt_nothing(tables, root):
    published = pd.read_csv(root / "results" / "table1_published.csv")
    wanted = set(map(tuple, published[["task", "metric"]].values))
    assert set(map(tuple, tables["published"][["task", "metric"]].values)) == wanted
    lsd = {(task, "LSD") for task in published["task"]}
    assert set(map(tuple, tables["sound"][["task", "metric"]].values)) == wanted | lsd
    for table in tables.values():
        assert tuple(table.columns) == protocol.COLUMNS and np.isfinite(table["value"]).all()
        assert set(table["system"]) == SYSTEMS | {"paper"}


def test_a_perfect_decoder_is_perfect_in_the_published_reconstruction(tables):
    found = means(tables["published"])
    for task in ("piano_reconstruction", "violin_reconstruction"):
        perfect = found[task, "perfect_decoder"]
        assert perfect["chroma distance"] == perfect["MSE of the spectrogram"] == 0
        assert perfect["onset F1"] == 1 and perfect["pitch correlation"] == pytest.approx(1)
        assert found[task, "silence", "pitch correlation"] == 0
        assert found[task, "another_piece", "chroma distance"] > 0
    assert found["piano_to_violin", "source_copy", "chroma similarity"] == pytest.approx(1)


def test_a_perfect_decoder_is_nearly_perfect_in_the_sound_one(tables):
    found = means(tables["sound"])
    for task in ("piano_reconstruction", "piano_to_violin", "violin_to_piano"):
        assert found[task, "perfect_decoder", "LSD"] < 1 < found[task, "another_piece", "LSD"]
        assert found[task, "perfect_decoder", "LSD"] < found[task, "constant_spectrum", "LSD"]
        assert found[task, "silence", "LSD"] > 10
    assert found["piano_to_violin", "perfect_decoder", "MFCC distance"] < 20


def test_section_0_is_what_the_published_reconstruction_hears(model, clips, tables):
    table = tables["published"]
    table = table[(table["task"] == "piano_reconstruction") & (table["system"] == "another_piece")]
    assert table["piece"].unique().tolist() == [clip.piece for clip in clips[::2]]
    whitened = protocol.whitened(model, stack_audio(clips[::2], "piano"), "piano")[:, :1]
    audio = protocol.played(model, whitened, 0)
    assert audio.shape[1] == 15 * 256
    expected = protocol.RECONSTRUCTION["chroma distance"](audio[1], audio[0])
    assert table[table["metric"] == "chroma distance"]["value"].iloc[0] == pytest.approx(expected)


def test_ten_seconds_are_four_sections_that_the_published_join_stretches():
    shape = preset("paper").representation
    overlap = int(0.3 * shape.section_frames)
    assert overlap == 86
    frames = 3 * (shape.section_frames - overlap) + shape.section_frames
    assert frames == 890 and (frames - 1) * shape.hop == 227_584


def test_the_published_transfer_hears_a_source_that_is_stretched_and_not_normalised(model, clips):
    shape, overlap = CONFIG.representation, protocol.evaluation_overlap(model)
    assert overlap == 4 < shape.section_overlap
    whitened = protocol.whitened(model, stack_audio(clips, "piano"), "piano")
    source = protocol.played(model, whitened, overlap)
    assert source.shape[1] == ((whitened.shape[1] - 1) * 12 + 15) * 256
    inputs = protocol.raw_inputs(model, source)
    assert inputs.shape == (4, whitened.shape[1], 32, 597)
    stft = model.representation.spectrogram(source)
    torch.testing.assert_close(inputs[:, 0, :16, :513], stft.real[:, :16])
    torch.testing.assert_close(inputs[:, 1, 16:, :513], stft.imag[:, 12:28])


def test_prototypes_are_the_styles_of_the_first_clips(model, clips):
    styles = protocol.first_clip_styles(model, clips)
    features = model.representation(stack_audio(clips, "violin"))
    every = model.encode_style(dataclasses.replace(features, voices=torch.ones(4, dtype=torch.int64)))
    torch.testing.assert_close(styles["violin"], every[0])
    assert not torch.allclose(styles["violin"], every[1])


def test_a_constant_spectrum_has_the_average_power(model, clips):
    sections = protocol.whitened(model, stack_audio(clips, "piano"), "piano")
    constant = protocol.constant_spectrum(sections)
    assert constant.shape == sections.shape
    torch.testing.assert_close(constant.square().sum(2), torch.full_like(constant[:, :, 0], 2.0))
    assert torch.equal(constant, protocol.constant_spectrum(sections))


def test_half_of_every_batch_of_eight_is_transferred(clips):
    assert protocol._first_half(list(range(8))) == [0, 1, 2, 3] and protocol._first_half([1, 2, 3]) == [1]


def test_the_published_deviation_has_divisor_n(tables):
    table = tables["published"]
    summary = protocol.summary(table)
    key = ("published", "piano_to_violin", "MFCC distance", "silence")
    values = table[(table["task"] == key[1]) & (table["metric"] == key[2]) & (table["system"] == key[3])]["value"]
    assert summary.loc[key, "std"] == pytest.approx(np.std(values)) and summary.loc[key, "n"] == 2


def test_too_few_clips_are_refused(model, clips):
    with pytest.raises(AstError, match="clips: found 3 pieces, accepted are 4 or more"):
        protocol.published(model, clips[:3])
