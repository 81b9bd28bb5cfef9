"""Harmonics plus noise: the timbre of made-up tones is measured, and pitch and loudness survive the resynthesis."""

import numpy as np
import pytest
import torch
from made_sounds import RATE, SILENCE, TIME, hz, noise, notes, tone

from ast_lib.errors import AstError
from ast_lib.evaluation import metrics
from benchmarks.rivals.harmonic import Timbre, harmonic_plus_noise, measure_timbre

PURE = Timbre(torch.tensor([0.5, 0.3, 0.2]), torch.zeros(513))


def as_batch(*clips):
    return torch.from_numpy(np.stack(clips).astype(np.float32))


def test_the_harmonics_of_a_tone_are_measured():
    amplitudes = np.array([0.5, 0.1, 0.3, 0.1])
    clip = sum(0.1 * a * np.sin(2 * np.pi * k * hz(69) * TIME) for k, a in enumerate(amplitudes, 1))
    timbre = measure_timbre(as_batch(clip))
    # Between two bins the highest is up to 1.4 dB below the true peak.
    assert timbre.harmonics[:4].numpy() == pytest.approx(amplitudes, abs=0.05)
    assert timbre.harmonics.sum() == pytest.approx(1) and timbre.harmonics[4:].max() < 1e-3


def test_the_noise_between_the_harmonics_is_measured():
    hiss = 0.1 * noise(0)
    found = measure_timbre(as_batch(tone(69, partials=3) + hiss)).noise
    # Median of a Rayleigh distribution with the mean power of white noise, over a sum of amplitudes of 0.55.
    expected = 0.01 * np.sqrt(384 * np.log(2)) / 0.55
    assert found[150:400].mean().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("pitch", [55, 69, 81, 90])
def test_a_harmonic_sound_keeps_its_pitch_within_10_cents(pitch):
    made = harmonic_plus_noise(as_batch(tone(pitch, partials=5)), PURE)[0].numpy().astype(np.float64)
    # The phase of the fundamental, over a second in the middle: finer than any tracker.
    time = np.arange(len(made)) / RATE
    analytic = made * np.exp(-2j * np.pi * hz(pitch) * time)
    window = np.hanning(8192)
    early, late = (np.sum(window * analytic[start : start + 8192]) for start in (4096, 4096 + 2048))
    cents = 1200 * np.log2(1 + np.angle(late / early) / (2 * np.pi * hz(pitch) * 2048 / RATE))
    assert abs(cents) < 10


def test_a_melody_keeps_its_notes_and_its_levels():
    source = np.concatenate([tone(69)[:RATE], 0.1 * tone(74)[:RATE]])
    made = harmonic_plus_noise(as_batch(source), PURE)[0].numpy()
    assert metrics.raw_pitch_accuracy(made, notes((0, 1, 69), (1, 1, 74))) > 0.95
    levels = [np.sqrt(np.mean(made[start : start + RATE // 2] ** 2)) for start in (RATE // 4, RATE * 5 // 4)]
    assert 20 * np.log10(levels[0] / levels[1]) == pytest.approx(20, abs=1)


def test_no_harmonic_is_above_half_the_sample_rate():
    bright = Timbre(torch.ones(40) / 40, torch.zeros(513))
    made = harmonic_plus_noise(as_batch(tone(93)), bright)[0].numpy()
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    frequency = np.fft.rfftfreq(len(made), 1 / RATE)
    off = np.abs(frequency / hz(93) - np.round(frequency / hz(93))) * hz(93) > 100
    assert spectrum[off].max() < 0.02 * spectrum.max()


def test_noise_becomes_noise_and_silence_stays_silent():
    hissing = Timbre(PURE.harmonics, torch.ones(513))
    made = harmonic_plus_noise(as_batch(noise(0), SILENCE), hissing)
    assert made.shape == (2, len(SILENCE)) and torch.isfinite(made).all()
    assert not made[1].any()
    assert made[0].std() > 0.01


def test_bad_sound_is_refused():
    with pytest.raises(AstError, match="found no frame with a pitch"):
        measure_timbre(as_batch(SILENCE))
    with pytest.raises(AstError, match="NaN"):
        harmonic_plus_noise(as_batch(np.full(4096, np.nan)), PURE)
