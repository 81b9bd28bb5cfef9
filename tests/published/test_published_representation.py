"""Sections that overlap, complex spectra, and statistics of each class."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import noise
from published_models import SMALL_PAPER, untrained_published

from ast_lib.config import override
from ast_lib.errors import AstError
from ast_lib.published.decoders import ComplexPrediction
from ast_lib.published.model import PublishedModel
from ast_lib.published.representation import as_complex, join_sections, to_sections


def test_channels_become_real_and_imaginary_part():
    channels = torch.randn(2, 3, 2, 4, 5)
    found = as_complex(channels)
    assert found.shape == (2, 3, 4, 5)
    assert torch.equal(found.real, channels[:, :, 0]) and torch.equal(found.imag, channels[:, :, 1])
    assert as_complex(channels.bfloat16()).dtype == torch.complex64
    with pytest.raises(AstError, match=r"channels: found shape \(2, 3, 4, 5\)"):
        as_complex(channels[:, :, 0])
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(as_complex, (x,))


def published_starts(frames: int, length: int, overlap: int) -> list[int]:
    """Where the published loop cuts (utilityFunctions.py:240-263 at commit 5f6d593), of one section at least."""
    starts = []
    for start in range(0, frames, length - overlap):
        end = min(start + length, frames)
        if starts and end - start < length * 0.5:
            break
        starts.append(start)
        if end == frames:
            break
    return starts


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 11))
def test_overlapping_sections_join_to_what_was_cut(frames, length, overlap):
    overlap = min(overlap, length - 1)
    whole = torch.arange(2.0 * frames).view(2, frames, 1)
    sections, step = to_sections(whole, length, overlap), length - overlap
    kept = min((sections.shape[1] - 1) * step + length, frames)
    if overlap:
        assert [index * step for index in range(sections.shape[1])] == published_starts(frames, length, overlap)
        assert 2 * (frames - kept) < length
    else:
        assert kept == frames and sections.shape[1] == math.ceil(frames / length)
    for index in range(sections.shape[1]):
        there = min(frames - index * step, length)
        assert torch.equal(sections[0, index, :there, 0], whole[0, index * step : index * step + there, 0])
        assert not sections[0, index, there:].any()
    torch.testing.assert_close(join_sections(sections, overlap)[:, :kept], whole[:, :kept])


@pytest.mark.parametrize(("frames", "sections", "lost"), [(862, 4, 2), (890, 4, 30), (920, 5, 0), (143, 1, 0)])
def test_ten_seconds_have_four_published_sections(frames, sections, lost):
    cut = to_sections(torch.arange(1.0, frames + 1).view(1, frames, 1), 287, 96)
    assert cut.shape == (1, sections, 287, 1) and cut.max() == frames - lost


def test_a_shifted_join_puts_every_section_later():
    sections = torch.zeros(1, 4, 10, 1)
    sections[:, :, 0] = 1  # the first frame of every section
    assert join_sections(sections, 3)[0, :, 0].nonzero().flatten().tolist() == [0, 7, 14, 21]
    assert join_sections(sections, 3 - 2)[0, :, 0].nonzero().flatten().tolist() == [0, 9, 18, 27]


@pytest.mark.parametrize("compression", [1.0, 0.3])
def test_the_true_spectrum_survives_sections_normalisation_and_compression(compression):
    config = override(
        SMALL_PAPER,
        "representation.denormalise=true",
        "representation.statistics=shared",
        f"representation.compression={compression}",
    )
    model = untrained_published(config)
    audio = torch.from_numpy(noise(56 * 256 / 22050))[None]
    target = model.target(model.representation(audio))
    stft = model.to_stft(ComplexPrediction(*target.chunk(2, dim=2)), 1 + audio.shape[-1] // 256)
    kept = min((target.shape[1] - 1) * 10 + 16, stft.shape[1])
    assert stft.shape[1] == 57 and kept == 56 and not stft[:, kept:].any()  # what no section holds is silent
    torch.testing.assert_close(stft[:, :kept], model.representation.spectrogram(audio)[:, :kept], rtol=1e-3, atol=1e-4)


# --- Statistics of each class


def two_voices():
    """A model with statistics per class of clips, of which those of voice 1 are louder; those clips, their voices."""
    config = override(SMALL_PAPER, "representation.denormalise=true")
    torch.manual_seed(0)
    model, voices = PublishedModel(config).eval(), torch.tensor([0, 1] * 2)
    clips = torch.stack([torch.from_numpy(noise(1.0, seed)) for seed in range(4)]) * (1 + 3 * voices[:, None])
    model.fit_statistics(dataclasses.replace(model.representation.whole(clips), voices=voices))
    return model, clips, voices


def test_statistics_per_class_are_those_of_the_published_script():
    model, clips, voices = two_voices()
    for name, transform in (("stft", model.representation.spectrogram), ("cqt", model.representation.constant_q)):
        channels = torch.view_as_real(transform(clips)).movedim(-1, 1)  # (B, 2, T, F)
        for voice in (0, 1):
            own = channels[voices == voice]
            mean = own.mean(dim=2).mean(dim=0)
            deviation = own.var(dim=2, unbiased=True).mean(dim=0).sqrt() + 1e-8
            found = getattr(model, f"{name}_complex_mean"), getattr(model, f"{name}_complex_std")
            torch.testing.assert_close(found[0][voice, :, 0], mean, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(found[1][voice, :, 0], deviation, rtol=1e-3, atol=1e-6)
    assert model.stft_complex_std[:, 1, 0, 0].tolist() == pytest.approx([1e-8] * 2)  # the imaginary part at 0 Hz


def test_statistics_per_class_take_the_difference_of_the_classes_away():
    model, clips, voices = two_voices()
    features = model.representation(clips)
    own = model.normalise(features.spectrum("stft_complex"), "stft_complex", voices)
    assert own.shape == (4, 8, 2, 16, 513) and own[..., 1, :, 0].abs().max() == 0
    for voice in (0, 1):  # about unit deviation in every class; exactly for frames that are in no two sections
        assert own[voices == voice][..., 1:-1].std().item() == pytest.approx(1, abs=0.05)
    assert model.likeliest_voices(features).tolist() == voices.tolist()
    assert torch.equal(model.target(features), model.target(dataclasses.replace(features, voices=voices)))
    restored = model.denormalise(own, "stft_complex", voices)
    torch.testing.assert_close(restored, features.spectrum("stft_complex"), rtol=1e-4, atol=1e-5)
    with pytest.raises(AstError, match="voices: found none"):
        model.normalise(features.spectrum("stft_complex"), "stft_complex")


def test_outputs_are_denormalised_as_the_voice_of_the_style():
    model, features, _ = two_voices()
    model.prototypes.copy_(torch.eye(2, 32))
    content, style = torch.randn(2, 3, 32), torch.eye(2, 32)[[1, 0]] + 0.1
    prediction = model.generate(content, style)
    assert prediction.voices.tolist() == [1, 0]
    one, other = (
        model.to_stft(prediction, 30),
        model.to_stft(dataclasses.replace(prediction, voices=torch.tensor([0, 1])), 30),
    )
    assert not torch.allclose(one, other)
    model.config = override(model.config, "representation.denormalise=false")
    # As published: the normalised values are played.
    parts = torch.stack([prediction.real, prediction.imaginary], dim=2)
    plain = torch.cat(list(model.representation.channel_blocks([parts])), dim=1)
    assert torch.equal(model.to_stft(prediction, 30), plain[:, :30])
