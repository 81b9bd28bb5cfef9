"""Mel-LSD and the Jaccard distance of pitch sets: values that can be worked out by hand."""

import numpy as np
import pytest
from made_sounds import RATE, SILENCE, noise, tone

from ast_lib.errors import AstError
from benchmarks.judges.cifka import mel_lsd, pitch_jaccard


@pytest.mark.parametrize("gain", [0.05, 1, 7])
def test_mel_lsd_ignores_a_gain(gain):
    assert mel_lsd(gain * noise(0), noise(0)) == pytest.approx(0, abs=1e-3)


def test_mel_lsd_of_half_a_clip_at_a_tenth_of_the_level():
    """After normalisation the halves differ from the truth by L and L - 20 dB: the RMS over time is known."""
    half = noise(0).copy()
    half[RATE:] /= 10
    level = -10 * np.log10((1 + 0.01) / 2)
    expected = np.sqrt((level**2 + (level - 20) ** 2) / 2)
    assert mel_lsd(half, noise(0)) == pytest.approx(expected, rel=0.03)
    assert mel_lsd(noise(0), half) == pytest.approx(mel_lsd(half, noise(0)))


def test_mel_lsd_tells_another_sound_and_bears_silence():
    assert mel_lsd(tone(69), tone(69)) == 0 < 10 < mel_lsd(tone(69), noise(0))
    assert mel_lsd(SILENCE, SILENCE) == 0
    assert 20 < mel_lsd(SILENCE, noise(0)) < 150
    with pytest.raises(AstError, match="NaN"):
        mel_lsd(np.full(4096, np.nan), noise(0, 4096))
    with pytest.raises(AstError, match="accepted is the truth's"):
        mel_lsd(noise(0, 4096), noise(0, 4097))


def sets(*frames, pitches=5):
    table = np.zeros((len(frames), pitches), bool)
    for row, frame in zip(table, frames, strict=True):
        row[list(frame)] = True
    return table


def test_jaccard_of_known_sets():
    truth = sets({0, 1}, {0, 1}, {2}, set(), set())
    # The same, one of three in common, nothing in common, nothing at all, and a note that is not there.
    estimate = sets({0, 1}, {1, 2}, {3}, set(), {4})
    assert pitch_jaccard(estimate, truth) == pytest.approx((0 + 2 / 3 + 1 + 0 + 1) / 5)
    assert pitch_jaccard(truth, estimate) == pytest.approx(pitch_jaccard(estimate, truth))
    assert pitch_jaccard(truth, truth) == 0
    assert pitch_jaccard(truth[:1], estimate[1:2]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "wrong", [(np.zeros((2, 3)), np.zeros((2, 3))), (sets({0}), sets({0}, {1})), (sets(), sets()), (sets({0})[0],) * 2]
)
def test_tables_that_are_no_sets_are_refused(wrong):
    with pytest.raises(AstError, match="accepted are two boolean tables"):
        pitch_jaccard(*wrong)
