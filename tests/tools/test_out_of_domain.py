"""benchmarks/out_of_domain.py: what is done to sources, and to their truth."""

import numpy as np
import pytest

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.scores import Notes, Piece
from ast_lib.data.synth import shared_synth
from benchmarks.out_of_domain import PERFORMANCES, RECORDINGS, SECONDS, played, recorded


@pytest.fixture
def noise():
    return np.random.default_rng(1).normal(0, 0.07, 4 * SAMPLE_RATE)


def test_the_first_value_of_each_recording_condition_changes_next_to_nothing(noise):
    for condition, (first, *_) in RECORDINGS.items():
        changed = recorded(condition, first, np.random.default_rng(0))(noise)
        assert changed.shape == noise.shape
        assert np.sqrt(np.mean((changed - noise) ** 2)) < 2e-3 * np.sqrt(np.mean(noise**2)), condition


def test_noise_room_band_and_clipping_have_the_size_that_is_named(noise):
    def of(condition, value):
        return recorded(next(c for c in RECORDINGS if c.startswith(condition)), value, np.random.default_rng(0))

    added = of("signal", 20)(noise) - noise
    assert 10 * np.log10(np.mean(noise**2) / np.mean(added**2)) == pytest.approx(20, abs=0.1)
    assert abs(of("clipping", 6)(noise)).max() == pytest.approx(abs(noise).max() / 10 ** (6 / 20))
    impulse = np.zeros(4 * SAMPLE_RATE)
    impulse[0] = 1
    tail = of("reverberation", 1.2)(impulse)
    assert np.sum(tail[1:] ** 2) == pytest.approx(0.09, rel=0.02)
    early, late = (np.sum(tail[a : a + 2000] ** 2) for a in (100, 100 + int(0.6 * SAMPLE_RATE)))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=2)  # half the time to -60 dB
    power = abs(np.fft.rfft(of("low-pass", 3400)(noise))) ** 2
    edge = len(power) * 3400 * 2 // SAMPLE_RATE
    assert power[edge * 6 // 5 :].mean() < 1e-3 * power[: edge * 4 // 5].mean()


def test_what_is_performed_otherwise_has_another_truth():
    synth, names = shared_synth("TimGM6mb"), ("piano", "violin")
    note = Notes(np.zeros(1), np.full(1, 60.0), np.array([69]), np.array([80]))  # A4, half a minute and more
    piece = Piece("one note", "fiddle", note)

    def pitch(condition, value):
        (clip,) = played([piece], synth, names, condition, value)
        assert clip["heard"] is clip["truth"] and clip["truth"]["violin"].shape == (round(SECONDS * SAMPLE_RATE),)
        spectrum = abs(np.fft.rfft(clip["truth"]["piano"] * np.hanning(len(clip["truth"]["piano"]))))
        band = spectrum[: round(1000 * SECONDS)]
        return band.argmax() / SECONDS

    found = {
        condition: pitch(condition, PERFORMANCES[condition][-1])
        for condition in PERFORMANCES
        if "voices" not in condition
    }
    plain = pitch("", 0)
    assert found["detuning (cents)"] / plain == pytest.approx(2 ** (1 / 12), rel=2e-3)
    assert found["transposition (semitones)"] / plain == pytest.approx(2, rel=0.01)
    assert found["tempo (times)"] / plain == pytest.approx(1, rel=2e-3)
    assert played([piece], synth, names, "voices (number)", 2) == []  # it has one voice alone
