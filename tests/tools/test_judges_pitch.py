"""Trackers from outside, on tones whose frequency is known; skipped where the extra is not installed."""

import builtins
import importlib.util

import numpy as np
import pytest
from made_sounds import RATE, SILENCE, hz, noise, notes, scale, tone

from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import raw_pitch_accuracy
from benchmarks.judges.extras import optional
from benchmarks.judges.pitch import crepe_track, swift_f0_track

TRACKERS = [
    pytest.param(
        track,
        id=package,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(package) is None, reason=f"{package} is not installed: pip install -e '.[judges]'"
        ),
    )
    for track, package in ((swift_f0_track, "swift_f0"), (crepe_track, "torchcrepe"))
]


@pytest.mark.parametrize("track", TRACKERS)
@pytest.mark.parametrize("pitch", [50, 62, 69, 81, 90])
def test_a_sine_is_tracked_within_25_cents(track, pitch):
    times, frequency = track(tone(pitch))
    assert times[0] == 0 and times[-1] == pytest.approx(2, abs=0.04) and len(times) == len(frequency)
    inner = frequency[8:-8]
    assert np.max(np.abs(1200 * np.log2(np.abs(inner) / hz(pitch)))) < 25
    assert np.mean(inner > 0) > 0.5  # SwiftF0 doubts low sines


@pytest.mark.parametrize("track", TRACKERS)
def test_silence_has_no_pitch_and_noise_is_unvoiced(track):
    assert not track(SILENCE)[1].any()
    assert np.mean(track(noise(0))[1] < 0) > 0.9


@pytest.mark.parametrize("track", TRACKERS)
def test_a_melody_is_right_and_its_transposition_wrong(track):
    melody = [62, 69, 64, 76, 67]  # with leaps
    played = scale(melody)[1]
    assert raw_pitch_accuracy(scale(melody)[0], played, track) > 0.9
    assert raw_pitch_accuracy(scale(melody, transpose=1)[0], played, track) < 0.1
    assert raw_pitch_accuracy(SILENCE, notes((0, 1, 69)), track) == 0


@pytest.mark.parametrize("track", TRACKERS)
def test_the_same_sound_has_the_same_pitch_twice(track):
    first, second = track(tone(69)[: RATE // 2]), track(tone(69)[: RATE // 2])
    assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize("track", TRACKERS)
def test_bad_sound_is_refused(track):
    with pytest.raises(AstError, match="NaN"):
        track(np.full(4096, np.nan))


def test_a_missing_package_names_the_extra(monkeypatch):
    with pytest.raises(AstError, match=r"no_such_judge: not found .*pip install -e '\.\[judges\]'"):
        optional("no_such_judge")
    assert optional("builtins") is builtins
