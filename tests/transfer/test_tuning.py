"""Tuning: known deviations are found, a source goes to 440 Hz and back, and what is in tune stays as it is."""

import librosa
import numpy as np
import pytest
import soundfile
import torch
from models import noise, tiny, tone, untrained

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.streams import BLOCK, Stream
from ast_lib.data.clips import render_clip
from ast_lib.data.scores import Notes
from ast_lib.data.synth import SAMPLE_RATE, shared_synth
from ast_lib.evaluation.metrics import lsd
from ast_lib.networks import checkpoint
from ast_lib.transfer import class_style, pipeline, synthesise, transfer, transfer_batch, transfer_file
from ast_lib.transfer.tuning import HIGHEST, HOP, IN_TUNE, LOWEST, WINDOW, deviation, in_tune, peaks, stretched

CENTS = [-50, -30, -10, 0, 20, 45]


def stream(audio, length=None):
    """Audio ``(samples,)`` in blocks of ``length``, or in one."""
    audio = torch.from_numpy(np.array(audio))[None]
    return Stream(lambda: audio.split(length or audio.shape[1], dim=1), audio.shape[1])


def cents(audio):
    return deviation(stream(audio), SAMPLE_RATE)


def apart(found, expected):
    """Distance of two deviations in cents, on the circle of a semitone."""
    return abs((found - expected + 50) % 100 - 50)


def melody(instrument, tuning=0.0, seconds=6.0):
    """An air in D major with two voices, after the second that a clip leaves out."""
    pitch = np.array([62, 66, 69, 74, 73, 69, 71, 67, 64, 69, 66, 62, 57, 62, 66, 69])
    onset = np.repeat(0.5 * np.arange(len(pitch)), 2)
    notes = Notes(onset, np.full(len(onset), 0.45), np.stack([pitch, pitch + 12], 1).ravel(), np.full(len(onset), 80))
    return render_clip(shared_synth(), notes, instrument, seconds, tuning / 100)


# --- The estimate


@pytest.mark.parametrize("frequency", [131.0, 222.2, 440.0, 1234.5])
def test_the_peak_of_a_tone_is_its_frequency(frequency):
    found, magnitude = peaks(stream(tone(1.0, frequency)).whole(), SAMPLE_RATE)
    inside = magnitude > 0.9 * magnitude.max()  # frames that do not see the tone begin or end
    assert inside.sum() > 15 and (found[inside] - frequency).abs().max() < 0.1
    assert magnitude.max() == pytest.approx(0.1 * WINDOW / 4, rel=0.2)  # half the amplitude, half the window


@pytest.mark.parametrize("instrument", ["piano", "violin"])
def test_the_peaks_give_what_those_of_librosa_give(instrument):
    sound = melody(instrument, -30)
    options = {"n_fft": WINDOW, "hop_length": HOP, "fmin": LOWEST, "fmax": HIGHEST}
    pitch, magnitude = librosa.piptrack(y=sound, sr=SAMPLE_RATE, **options)
    inside = pitch > 0
    angles = 2 * np.pi * 12 * np.log2(pitch[inside] / 440)
    expected = 50 / np.pi * np.angle(np.sum(magnitude[inside] * np.exp(1j * angles)))
    assert cents(sound) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("expected", CENTS)
@pytest.mark.parametrize("pitch", [48, 69, 81])
def test_a_tone_is_as_flat_as_it_is(pitch, expected):
    partials = [tone(1.0, k * 440 * 2 ** ((pitch - 69 + expected / 100) / 12), 0.1 / k) for k in (1, 2, 4)]
    assert apart(cents(sum(partials)), expected) < 2


@pytest.mark.parametrize("instrument", ["piano", "violin"])
def test_a_rendered_clip_is_as_flat_as_it_was_rendered(instrument):
    level = cents(melody(instrument))
    assert abs(level) < IN_TUNE - 1
    for expected in CENTS:
        found = cents(melody(instrument, expected))
        assert apart(found, expected) < 4 and apart(found - level, expected) < 2


def test_a_single_note_and_a_note_among_silence():
    sound = tone(0.3, 440 * 2 ** (-0.3 / 12))
    assert cents(sound) == pytest.approx(-30, abs=2)
    assert cents(np.pad(sound, (5 * SAMPLE_RATE, 3 * SAMPLE_RATE))) == pytest.approx(-30, abs=2)


def test_loudness_and_the_lengths_of_blocks_do_not_matter():
    sound = melody("piano", -30)
    expected = cents(sound)
    assert cents(1e-3 * sound) == pytest.approx(expected, abs=0.01)
    assert len(sound) > 2 * BLOCK
    for length in (1000, 50_000):
        assert deviation(stream(sound, length), SAMPLE_RATE) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_tuning(seed):
    assert cents(noise(2.0, seed)) == 0.0


@pytest.mark.parametrize("samples", [1, 100, 4095, 4096])
def test_neither_has_silence(samples):
    assert cents(np.zeros(samples, np.float32)) == 0.0


@pytest.mark.parametrize("level", [1e-20, 1e-12])
def test_almost_silence_around_a_note_does_not_count(level):
    sound = np.concatenate([noise(2.0, rms=level), tone(0.5, 440 * 2 ** (-0.3 / 12)), np.full(9999, level, np.float32)])
    assert cents(sound) == pytest.approx(-30, abs=2)


# --- There and back


@pytest.mark.parametrize("samples", [1, 2, 255, 4097, 3 * BLOCK + 1])
@pytest.mark.parametrize("ratio", [0.97, 0.9715, 1.0, 1.003, 1.029])
def test_lengths_are_exact_both_ways(samples, ratio):
    sound, wanted = stream(noise(10.0)[:samples], 1000), max(round(samples * ratio), 1)
    there = stretched(sound, wanted)
    assert there.samples == wanted == there.whole().shape[1]
    assert stretched(there, samples).whole().shape == (1, samples)


@pytest.mark.parametrize("off", [-50, -30, 20, 45])
def test_a_source_lands_on_the_semitones_and_comes_back(off):
    source = stream(melody("violin", off), 10_000)
    tuned = in_tune(source, SAMPLE_RATE)
    moved = 1200 * np.log2(tuned.samples / source.samples)
    assert apart(moved, off) < 4  # 50 cents flat may be taken for 50 cents sharp: the next semitone is one too
    assert abs(deviation(tuned, SAMPLE_RATE)) < 1
    back = stretched(tuned, source.samples).whole()
    assert torch.corrcoef(torch.cat([back, source.whole()]))[0, 1] > 0.999


def test_a_flat_source_becomes_shorter():
    tuned = in_tune(stream(tone(1.0, 440 * 2 ** (-0.4 / 12))), SAMPLE_RATE)
    assert tuned.samples == pytest.approx(SAMPLE_RATE * 2 ** (-40 / 1200), rel=1e-3)


@pytest.mark.parametrize("sound", [tone(1.0), noise(1.0), melody("piano"), melody("violin")])
def test_a_source_in_tune_stays_as_it_is(sound):
    source = stream(sound)
    assert in_tune(source, SAMPLE_RATE) is source and stretched(source, source.samples) is source


# --- In a transfer


@pytest.mark.parametrize("samples", [1, 2, 300, 5000, 33075])
def test_the_output_of_a_flat_source_is_as_long_and_as_loud(samples):
    source = tone(2.0, 440 * 2 ** (-0.4 / 12))[1 : samples + 1]
    output = transfer(untrained(tiny()), source, "violin")
    assert output.shape == source.shape and np.isfinite(output).all()
    loud = source.std() if samples > 1 else np.abs(source[0])
    assert np.sqrt(np.mean(output**2)) == pytest.approx(loud, rel=1e-3)


def test_a_source_in_tune_is_transferred_as_without_this_station(monkeypatch):
    model, source = untrained(tiny()), melody("piano", 3, 2.0)
    found = transfer(model, source, "violin")
    monkeypatch.setattr(pipeline, "in_tune", lambda sound, sample_rate: sound)
    assert (found == transfer(model, source, "violin")).all()


def test_a_file_gives_what_its_samples_give(tmp_path):
    weights = checkpoint.save_weights(tmp_path / "w.safetensors", untrained(tiny()), {}, {})
    source = melody("piano", -30, 2.0)
    soundfile.write(tmp_path / "in.wav", source, SAMPLE_RATE, subtype="FLOAT")
    transfer_file(tmp_path / "in.wav", "violin", tmp_path / "out.wav", weights)
    written, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    expected = transfer(checkpoint.load_weights(weights), source, "violin")
    np.testing.assert_allclose(written, expected, atol=1e-3)


@pytest.mark.parametrize(("source", "target"), [("piano", "violin"), ("violin", "piano")])
@pytest.mark.parametrize("off", [-50, 25])
def test_the_transfer_of_a_source_out_of_tune_is_out_by_as_much(source, target, off):
    """With the published weights; the model alone pulls the same source to 440 Hz."""
    if not checkpoint.PUBLISHED.is_file():
        pytest.skip("needs the published weights")
    model = checkpoint.load_weights(checkpoint.PUBLISHED)
    heard, truth = melody(source, off), melody(target, off)
    output = transfer(model, heard, target)
    batch = torch.from_numpy(normalise_rms(heard))[None]
    stft = transfer_batch(model, batch, class_style(model, target))
    alone = synthesise(model, stft, len(heard), "refined")[0].numpy()
    assert apart(cents(output), off) < 8 and apart(cents(alone), off) > 15
    assert lsd(output, truth) < lsd(alone, truth) - 3
