"""Basic Pitch's network without its package: chords and onsets that are known, and the file that it is read from."""

import importlib.util
import zipfile

import numpy as np
import pytest
from made_sounds import RATE, SILENCE, noise, notes, scale, tone

from ast_lib.config import preset
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import onset_f1
from ast_lib.files import CACHE
from benchmarks.judges import basic_pitch
from benchmarks.judges.basic_pitch import multipitch_scores, onset_times, pitch_sets, posteriors
from benchmarks.judges.cifka import pitch_jaccard

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or not (CACHE / basic_pitch.WHEEL).is_file(),
    reason=f"the extra judges, or {basic_pitch.WHEEL} in build/cache, is missing: benchmarks/judges",
)


def sounding(audio):
    """The MIDI notes that sound in more than half of the inner frames."""
    share = pitch_sets(audio)[1][10:-10].mean(axis=0)
    return set((basic_pitch.LOWEST + np.flatnonzero(share > 0.5)).tolist())


@needs_model
@pytest.mark.parametrize("instrument", ["piano", "violin"])
@pytest.mark.parametrize("chord", [{57}, {69}, {60, 67}, {64, 71}])
def test_the_notes_of_a_chord_are_found(chord, instrument):
    """Rendered: the network hears equal-phase partials of made-up tones as notes of their own."""
    played = notes(*((0, 2, pitch) for pitch in chord))
    assert sounding(shared_synth(preset("smoke").soundfonts[0]).render(played, instrument, 2.0)) == chord


@needs_model
def test_frames_are_in_time_over_the_seams_of_windows():
    """Six seconds are four windows; a tone that sounds from 1.9 to 3.9 s lies across a seam at either end."""
    audio = np.zeros(6 * RATE, np.float32)
    audio[round(1.9 * RATE) :][: 2 * RATE] = 0.3 * tone(69, partials=6)
    times, sets = pitch_sets(audio)
    assert len(times) == len(sets) == 1 + len(audio) // 256 and times[-1] == pytest.approx(6, abs=0.012)
    heard = times[sets[:, 69 - basic_pitch.LOWEST]]
    assert heard.min() == pytest.approx(1.9, abs=0.05) and heard.max() == pytest.approx(3.9, abs=0.08)
    assert len(heard) > 0.95 * 2 * RATE / 256


@needs_model
def test_onsets_of_plucked_tones_are_found_in_time():
    audio, played = scale([60, 67, 64, 72, 65])
    assert onset_f1(audio, played, detect=onset_times) == 1
    assert onset_times(SILENCE).shape == (0,)


@needs_model
def test_scores_of_a_melody_and_of_another():
    audio, played = scale([60, 67, 64, 72, 65])
    right, wrong = multipitch_scores(audio, played), multipitch_scores(scale([61, 66, 70, 73, 62])[0], played)
    assert right["recall"] > 0.9 and right["precision"] > 0.5 and wrong["accuracy"] < 0.1
    assert pitch_jaccard(pitch_sets(audio)[1], pitch_sets(audio)[1]) == 0


@needs_model
def test_short_clips_and_bad_sound():
    assert [part.shape for part in posteriors(noise(0, 100))] == [(1,), (1, 88), (1, 88)]
    assert not posteriors(SILENCE)[1].any()
    with pytest.warns(UserWarning, match="Estimate frequencies are all empty"):
        assert multipitch_scores(SILENCE, notes((0, 1, 69)))["recall"] == 0
    with pytest.raises(AstError, match="NaN"):
        posteriors(np.full(4096, np.nan))


def test_a_missing_wheel_names_the_command_and_another_model_is_refused(tmp_path):
    with pytest.raises(AstError, match=r"found no model of Basic Pitch .* run: pip download --no-deps .*==0\.4\.0"):
        basic_pitch.model_file(tmp_path)
    with zipfile.ZipFile(tmp_path / basic_pitch.WHEEL, "w") as wheel:
        wheel.writestr(basic_pitch.MODEL, b"another")
    with pytest.raises(AstError, match="found a model with the SHA-256"):
        basic_pitch.model_file(tmp_path)


@needs_model
def test_the_model_is_the_published_one():
    assert len(basic_pitch.model_file()) == 230444
