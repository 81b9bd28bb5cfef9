"""The equaliser between two average spectra: exact where its assumption holds."""

import pytest
import torch
from models import noise

from ast_lib.evaluation import metrics
from ast_lib.evaluation.baselines import average_power, envelope_transfer
from ast_lib.representation import Spectrogram

SPECTROGRAM = Spectrogram()


def clip(seed):
    return torch.from_numpy(noise(1.0, seed))[None]


def test_average_power_is_a_mean_over_clips_and_frames():
    clips = torch.cat([clip(0), 3 * clip(1)])
    power = average_power(SPECTROGRAM, clips)
    assert power.shape == (513,)
    expected = [(SPECTROGRAM(one[None]).abs() ** 2).mean(dim=1)[0] for one in clips]
    torch.testing.assert_close(power, (expected[0] + expected[1]) / 2)
    torch.testing.assert_close(average_power(SPECTROGRAM, 2 * clips), 4 * power)


def test_equal_spectra_change_nothing_and_a_gain_is_a_gain():
    source = clip(0)
    power = average_power(SPECTROGRAM, source)
    torch.testing.assert_close(envelope_transfer(SPECTROGRAM, source, power, power), source, rtol=0, atol=1e-5)
    torch.testing.assert_close(envelope_transfer(SPECTROGRAM, source, power, 4 * power), 2 * source, rtol=0, atol=1e-5)


def test_a_target_that_is_the_source_through_a_smooth_filter_is_found():
    """A filter much shorter than the window: |Y| = |H||X| in every frame, and the ratio of averages is |H|²."""
    kernel = torch.tensor([[[0.5, 0.9, 0.3]]])
    sources = torch.cat([clip(seed) for seed in range(4)])
    targets = torch.nn.functional.conv1d(sources[:, None], kernel, padding=1)[:, 0]
    powers = [average_power(SPECTROGRAM, audio) for audio in (sources, targets)]
    new = clip(9)
    truth = torch.nn.functional.conv1d(new[:, None], kernel, padding=1)[:, 0]
    assert metrics.lsd(envelope_transfer(SPECTROGRAM, new, *powers), truth)[0] < 1.5 < metrics.lsd(new, truth)[0]


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_bins_without_power_and_silence_stay_finite(level):
    nothing = torch.zeros(513)
    source = level * clip(0)
    torch.testing.assert_close(envelope_transfer(SPECTROGRAM, source, nothing, nothing), source, rtol=0, atol=1e-5)
