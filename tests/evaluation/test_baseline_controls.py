"""Controls: a spectrum that never changes, another piece, and magnitudes without their phase."""

import numpy as np
import pytest
import torch
from models import noise, tone

from ast_lib.errors import AstError
from ast_lib.evaluation import metrics
from ast_lib.evaluation.baselines import another_piece, average_power, constant_spectrum, magnitude_only
from ast_lib.representation import Spectrogram

SPECTROGRAM = Spectrogram()
INNER = slice(2, -2)  # frames that no reflected end reaches


def batch(*seeds):
    return torch.stack([torch.from_numpy(noise(1.0, seed)) for seed in seeds])


def test_a_constant_spectrum_has_no_flux_and_the_level_of_each_source():
    source = batch(0, 1) * torch.tensor([[1.0], [0.1]])
    sound = constant_spectrum(SPECTROGRAM, average_power(SPECTROGRAM, batch(2)), source)
    assert sound.shape == source.shape
    torch.testing.assert_close(sound.square().mean(dim=1), source.square().mean(dim=1))
    magnitude = SPECTROGRAM(sound)[:, INNER].abs()
    flux = (magnitude[:, 1:] - magnitude[:, :-1]).abs().amax(dim=(1, 2)) / magnitude.amax(dim=(1, 2))
    assert flux.max() < 1e-4


def test_a_constant_spectrum_is_within_two_decibels_of_the_average():
    power = 1 + torch.cos(torch.linspace(0, 3, 513))
    sound = constant_spectrum(SPECTROGRAM, power, batch(0))
    found = 10 * torch.log10(average_power(SPECTROGRAM, sound)[4:-8] / power[4:-8])
    # 1.5 dB above and below in turn; the ends of the clip are reflected and add a little.
    assert (found - found.mean()).abs().max() < 2.5 and found.std() < 1.7


def test_a_constant_spectrum_of_one_sample_and_of_silence():
    power = torch.ones(513)
    assert constant_spectrum(SPECTROGRAM, power, torch.ones(1, 1)).shape == (1, 1)
    assert not constant_spectrum(SPECTROGRAM, power, torch.zeros(1, 4000)).any()


@pytest.mark.parametrize("power", [torch.zeros(513), torch.ones(512), -torch.ones(513), torch.full((513,), torch.nan)])
def test_powers_that_are_no_spectrum_are_refused(power):
    with pytest.raises(AstError, match="power: found"):
        constant_spectrum(SPECTROGRAM, power, batch(0))


def test_another_hop_is_refused():
    with pytest.raises(AstError, match="hop: found 512, accepted is 256"):
        constant_spectrum(Spectrogram(1024, 512), torch.ones(513), batch(0))


def test_another_piece_is_the_next_clip_and_never_the_own():
    truth = batch(0, 1, 2)
    assert torch.equal(another_piece(truth), torch.stack([truth[1], truth[2], truth[0]]))
    with pytest.raises(AstError, match="found 1 clips"):
        another_piece(truth[:1])


def test_magnitudes_alone_give_the_sound_back_but_not_its_phase():
    source = torch.from_numpy(tone(0.5) + tone(0.5, 1234.0))[None]
    stft = SPECTROGRAM(source)
    sound = magnitude_only(SPECTROGRAM, stft, source.shape[-1])
    assert sound.shape == source.shape
    assert metrics.lsd(sound, source)[0] < 5 < metrics.lsd(torch.from_numpy(noise(0.5))[None], source)[0]
    # The given phase is not used, and the seed decides.
    assert torch.equal(sound, magnitude_only(SPECTROGRAM, stft.abs(), source.shape[-1]))
    assert not torch.equal(sound, magnitude_only(SPECTROGRAM, stft, source.shape[-1], seed=1))
    assert not magnitude_only(SPECTROGRAM, torch.zeros_like(stft), source.shape[-1]).any()
    assert np.isfinite(sound.numpy()).all()
