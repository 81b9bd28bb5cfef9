"""Known answers of the metrics of the paper's table: best values, and the flaws that their docstrings name."""

import numpy as np
import pytest
import torch
from made_sounds import SILENCE, noise, scale, tone

from ast_lib.errors import AstError
from ast_lib.published import metrics

FUNCTIONS = [
    metrics.published_chroma_distance,
    metrics.published_onset_f1,
    metrics.published_pitch_correlation,
    metrics.published_mse_spectrogram,
    metrics.published_chroma_similarity,
    metrics.published_mfcc_distance,
    metrics.published_instrumentation_similarity,
    metrics.published_self_similarity_distance,
]


def test_published_metrics_of_a_clip_with_itself():
    audio = scale([60, 67, 64, 72])[0]
    best = {"distance": 0, "mse": 0, "f1": 1, "correlation": 1, "similarity": 1}
    for function in FUNCTIONS:
        (expected,) = {
            value for word, value in best.items() if word in function.__name__.replace("self_similarity", "")
        }
        assert function(audio, audio) == pytest.approx(expected, abs=1e-5), function.__name__


def test_published_mse_is_quadratic_in_the_level():
    x, y = tone(69), 0 * tone(69)
    assert metrics.published_mse_spectrogram(3 * x, y) == pytest.approx(9 * metrics.published_mse_spectrogram(x, y))


def test_published_onset_f1_wants_the_very_same_frame():
    audio = scale([60, 67, 64, 72, 65])[0]
    late = np.concatenate([np.zeros(1024, dtype=np.float32), audio[:-1024]])  # two frames, 46 ms
    assert metrics.published_onset_f1(late, audio) < 0.3


def test_published_chroma_distance_of_two_pitch_classes_is_at_least_root_2():
    assert metrics.published_chroma_distance(tone(60), tone(66)) >= np.sqrt(2)


def test_published_instrumentation_similarity_knows_notes_not_instruments():
    # The same waveform a fifth higher is the same instrument, and scores about 0.
    assert metrics.published_instrumentation_similarity(tone(67, partials=5), tone(60, partials=5)) < 0.2


def test_published_self_similarity_sees_20_coefficients():
    value = metrics.published_self_similarity_distance(noise(0), tone(60, partials=5))
    assert value * 400 == pytest.approx(round(value * 400), abs=1e-9)
    assert 0 < value <= 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_audio_is_refused(function):
    good, bad = noise(0, 4096), noise(0, 4096)
    bad[7] = np.nan
    for estimate, truth, message in [
        (bad, good, "NaN"),
        (good, np.where(np.isnan(bad), np.inf, bad), "NaN or infinite"),
        (good[:0], good[:0], "shape"),
        (good[:-1], good, "4095"),
    ]:
        with pytest.raises(AstError, match=message):
            function(estimate, truth)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.filterwarnings("error")
def test_silence_has_a_finite_value(function):
    audio = noise(0)
    for estimate, truth in [(SILENCE, audio), (audio, SILENCE), (SILENCE, SILENCE)]:
        assert np.isfinite(function(estimate, truth))


def test_tensors_and_arrays_agree():
    x, y = noise(0), tone(69)
    for function in FUNCTIONS:
        assert function(torch.from_numpy(x), torch.from_numpy(y)) == function(x, y)
