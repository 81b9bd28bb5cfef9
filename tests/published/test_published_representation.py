"""Sections that overlap, complex spectra, and statistics of each class."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import noise
from published_models import SMALL_PAPER, complex_features, untrained_published

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


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 11))
def test_overlapping_sections_join_to_what_was_cut(frames, length, overlap):
    overlap = min(overlap, length - 1)
    whole = torch.arange(2.0 * frames).view(2, frames, 1)
    sections = to_sections(whole, length, overlap)
    assert sections.shape[1] == max(math.ceil((frames - overlap) / (length - overlap)), 1)
    for index in range(sections.shape[1]):
        start = index * (length - overlap)
        assert torch.equal(sections[0, index, : frames - start, 0], whole[0, start : start + length, 0])
    torch.testing.assert_close(join_sections(sections, overlap)[:, :frames], whole)


def test_a_shifted_join_puts_every_section_later():
    sections = torch.zeros(1, 4, 10, 1)
    sections[:, :, 0] = 1  # the first frame of every section
    assert join_sections(sections, 3)[0, :, 0].nonzero().flatten().tolist() == [0, 7, 14, 21]
    assert join_sections(sections, 3 - 2)[0, :, 0].nonzero().flatten().tolist() == [0, 9, 18, 27]


@pytest.mark.parametrize("compression", [1.0, 0.3])
def test_the_true_spectrum_survives_sections_normalisation_and_compression(compression):
    config = override(
        SMALL_PAPER,
        "representation.join_shift=0",
        "representation.denormalise=true",
        "representation.statistics=shared",
        f"representation.compression={compression}",
    )
    model = untrained_published(config)
    audio = torch.from_numpy(noise(0.7))[None]
    target = model.target(model.representation(audio))
    stft = model.to_stft(ComplexPrediction(*target.chunk(2, dim=2)), 1 + audio.shape[-1] // 256)
    torch.testing.assert_close(stft, model.representation.spectrogram(audio), rtol=1e-3, atol=1e-4)


# --- Statistics of each class


def two_voices():
    """A model with statistics per class of clips whose spectra are wider for voice 1, those clips, and their voices."""
    config = override(SMALL_PAPER, "representation.denormalise=true")
    torch.manual_seed(0)
    model = PublishedModel(config).eval()
    features, voices = complex_features(config, 8, 3), torch.tensor([0, 1] * 4)
    scale = 1 + 3 * voices.view(-1, 1, 1, 1).float()
    features = dataclasses.replace(features, stft_magnitude=features.stft_magnitude * scale)
    model.fit_statistics(dataclasses.replace(features, voices=voices))
    return model, features, voices


def test_statistics_per_class_take_the_difference_of_the_classes_away():
    model, features, voices = two_voices()
    own = model.normalise(features.spectrum("stft_complex"), "stft_complex", voices)
    assert own.shape == (8, 3, 2, 16, 513)
    for voice in (0, 1):  # 0 mean and unit deviation per channel and bin, for each class
        part = own[voices == voice].movedim(2, 0).movedim(-1, 1).flatten(2)
        torch.testing.assert_close(part.mean(-1), torch.zeros(2, 513), rtol=0, atol=1e-5)
        torch.testing.assert_close(part.std(-1), torch.ones(2, 513), rtol=0, atol=1e-4)
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
