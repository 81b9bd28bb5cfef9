"""Known answers of the metrics: signals whose distance, pitch or chroma can be worked out by hand."""

import mir_eval
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sounds import RATE, SILENCE, TIME, hz, noise, notes, scale, tone

from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.evaluation import metrics
from ast_lib.representation import Spectrogram

PAIRWISE = [
    metrics.lsd,
    metrics.chroma_cosine,
]


# --- log-spectral distance


def test_lsd_of_ten_times_the_magnitude_is_20_db():
    truth = torch.rand(3, 7, 11, dtype=torch.float64) + 1e3
    assert metrics.log_spectral_distance(10 * truth, truth).numpy() == pytest.approx(np.full(3, 20.0), abs=1e-4)


def test_lsd_is_a_mean_over_frames_of_an_rms_over_bins():
    truth = torch.ones(2, 2, dtype=torch.float64)
    # Frame 0 differs by (20, 0) dB, whose RMS is 20 / sqrt(2); frame 1 does not differ.
    estimate = torch.tensor([[10.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    assert metrics.log_spectral_distance(estimate, truth, floor=0).item() == pytest.approx(10 / np.sqrt(2))


def test_lsd_of_silence_against_magnitude_one_is_the_floor():
    value = metrics.log_spectral_distance(torch.zeros(4, 5), torch.ones(4, 5)).item()
    assert value == pytest.approx(20 * np.log10(1001 / 1), abs=1e-3)
    assert metrics.log_spectral_distance(torch.zeros(4, 5), torch.zeros(4, 5)).item() == 0


def test_lsd_ignores_phase_and_is_symmetric():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, 6, 5, dtype=torch.complex64, generator=generator) for _ in range(2))
    turned = x * torch.polar(torch.ones(()), torch.tensor(1.2))
    assert torch.allclose(metrics.log_spectral_distance(turned, y), metrics.log_spectral_distance(x, y), atol=1e-5)
    assert torch.allclose(metrics.log_spectral_distance(y, x), metrics.log_spectral_distance(x, y))
    assert torch.equal(metrics.log_spectral_distance(x, x), torch.zeros(2))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 20), st.floats(0.05, 20))
def test_lsd_of_audio_ignores_the_level_of_either_clip(a, b):
    x, y = noise(0, 4000), noise(1, 4000)
    assert metrics.lsd(a * x, b * y) == pytest.approx(metrics.lsd(x, y), abs=1e-3)


def test_lsd_of_audio_is_that_of_its_spectra_at_rms_007():
    x, y = noise(0), tone(69)
    spectra = [
        Spectrogram()(torch.from_numpy(0.07 * audio / np.sqrt(np.mean(audio.astype(float) ** 2))).float()[None])
        for audio in (x, y)
    ]
    assert metrics.lsd(x, y) == pytest.approx(metrics.log_spectral_distance(*spectra).item(), abs=1e-3)


def test_lsd_normalises_each_clip_of_a_batch_by_itself():
    x, y = np.stack([noise(0), 100 * noise(1)]), np.stack([noise(2), noise(3)])
    batch = metrics.lsd(x, y)
    assert batch.shape == (2,)
    assert batch == pytest.approx([metrics.lsd(x[0], y[0]).item(), metrics.lsd(x[1], y[1]).item()])
    assert metrics.lsd(torch.from_numpy(x[:1]), torch.from_numpy(y[:1])) == pytest.approx(batch[:1])


def test_lsd_of_silence():
    assert metrics.lsd(SILENCE, SILENCE) == 0
    assert 20 < metrics.lsd(SILENCE, noise(0)) < 80


@pytest.mark.parametrize("shapes", [((2, 3), (2, 4)), ((0, 3), (0, 3)), ((3,), (3,)), ((2, 0), (2, 0))])
def test_spectra_of_wrong_shapes_are_refused(shapes):
    with pytest.raises(AstError, match="shapes"):
        metrics.log_spectral_distance(torch.ones(shapes[0]), torch.ones(shapes[1]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_spectra_that_are_not_finite_are_refused(bad):
    with pytest.raises(AstError, match="NaN or infinite"):
        metrics.log_spectral_distance(torch.full((2, 2), bad), torch.ones(2, 2))


# --- chroma


@pytest.mark.parametrize("pitch", [48, 60, 69, 81])
def test_chroma_of_a_sine_is_its_pitch_class(pitch):
    energy = metrics.chroma(tone(pitch)).sum(axis=1)
    assert np.argmax(energy) == pitch % 12
    assert energy[pitch % 12] > 0.6 * energy.sum()


def test_chroma_cosine_of_the_same_octave_shifted_and_tritone_shifted_music():
    audio, _ = scale([60, 64, 67, 72])
    assert metrics.chroma_cosine(audio, audio) == pytest.approx(1)
    assert metrics.chroma_cosine(0.01 * audio, audio) == pytest.approx(1, abs=1e-4)
    assert metrics.chroma_cosine(tone(72), tone(60)) > 0.98
    assert metrics.chroma_cosine(tone(66), tone(60)) < 0.05


def test_chroma_cosine_counts_a_silent_half_as_zero_and_leaves_rests_out():
    half = tone(69).copy()
    half[len(half) // 2 :] = 0
    # Frames of 4096 samples round the edge sound in both, so the share is a little above one half.
    assert metrics.chroma_cosine(half, tone(69)) == pytest.approx(0.5, abs=0.06)
    assert metrics.chroma_cosine(tone(69), half) == pytest.approx(1, abs=0.02)


def test_chroma_cosine_of_silence_is_0():
    assert metrics.chroma_cosine(SILENCE, tone(69)) == 0
    assert metrics.chroma_cosine(tone(69), SILENCE) == 0
    assert metrics.chroma_cosine(SILENCE, SILENCE) == 0


# --- pitch


@pytest.mark.parametrize("pitch", [48, 55, 62, 69, 76, 88, 95])
def test_a_tone_is_tracked_within_20_cents_and_in_time(pitch):
    times, frequency = metrics.pitch_track(tone(pitch, partials=4))
    assert times == pytest.approx(np.arange(len(times)) * 512 / RATE)
    cents = 1200 * np.log2(frequency[4:-4] / hz(pitch))
    assert np.max(np.abs(cents)) < 20


def test_silence_has_no_pitch():
    times, frequency = metrics.pitch_track(SILENCE)
    assert len(times) == len(frequency) == 1 + len(SILENCE) // 512
    assert not frequency.any()


def test_noise_is_unvoiced_but_guessed():
    _, frequency = metrics.pitch_track(noise(0))
    assert np.mean(frequency < 0) > 0.9
    assert np.isfinite(frequency).all()


def test_the_reference_follows_onset_end_and_rest():
    reference = metrics.score_pitch(
        notes((0.5, 0.5, 69), (1.5, 0.5, 57)), np.array([0, 0.5, 0.99, 1.0, 1.49, 1.5, 2.0])
    )
    assert reference == pytest.approx([0, 440, 440, 0, 0, 220, 0])


def test_pitch_accuracy_of_a_sine_is_1_and_a_semitone_away_0():
    played = notes((0, 2, 69))
    assert metrics.raw_pitch_accuracy(tone(69), played) == 1
    assert metrics.raw_pitch_accuracy(tone(70), played) == 0
    assert metrics.raw_pitch_accuracy(tone(81), played) == 0  # an octave is wrong, too
    # 50 cents are the limit.
    assert metrics.raw_pitch_accuracy(tone(69.35), played) > 0.95
    assert metrics.raw_pitch_accuracy(tone(69.65), played) < 0.05


def test_pitch_accuracy_is_the_share_of_frames_within_notes():
    audio = np.concatenate([tone(69)[:RATE], tone(74)[:RATE]])
    assert metrics.raw_pitch_accuracy(audio, notes((0, 1, 69), (1, 1, 74))) > 0.95
    assert metrics.raw_pitch_accuracy(audio, notes((0, 1, 69), (1, 1, 76))) == pytest.approx(0.5, abs=0.03)
    assert metrics.raw_pitch_accuracy(audio, notes((0, 1, 69))) > 0.95  # what sounds in a rest does not count


def test_pitch_by_age_is_the_same_accuracy_frame_by_frame():
    """The second note is played a quarter of a second late: until then its pitch is that of the first."""
    audio, played = np.concatenate([tone(69)[: RATE * 5 // 4], tone(74)[:RATE]]), notes((0, 1, 69), (1, 1, 74))
    age, right = metrics.pitch_by_age(audio, played)
    assert right.mean() == pytest.approx(metrics.raw_pitch_accuracy(audio, played))
    second = np.arange(len(age)) >= len(age) // 2 + 1
    assert age.min() == 0 and age.max() < 1 and (np.diff(age)[np.diff(age) < 0] < -0.9).all()
    assert not right[second & (age < 0.2)].any() and right[second & (age > 0.3)].all()


def test_silence_has_no_right_pitch_at_any_age():
    assert not metrics.pitch_by_age(SILENCE, notes((0, 1, 69)))[1].any()


def test_pitch_accuracy_of_a_melody_and_its_transposition():
    melody = [62, 64, 66, 67, 69, 71]
    audio, played = scale(melody)
    transposed, _ = scale(melody, transpose=1)
    assert metrics.raw_pitch_accuracy(audio, played) > 0.93
    assert metrics.raw_pitch_accuracy(transposed, played) < 0.1
    assert metrics.raw_pitch_accuracy(SILENCE, played) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (notes((0, 1, 60), (0, 1, 64)), "monophonic"),
        (notes((0, 1, 30)), "found pitches 30 to 30"),
        (notes((0, 1, 97)), "found pitches 97 to 97"),
        (notes((5, 1, 69)), "none of which sounds"),
        (Notes(*(np.zeros(0) for _ in range(4))), "found 0"),
    ],
)
def test_notes_that_cannot_be_scored_are_refused(wrong, message):
    with pytest.raises(AstError, match=message):
        metrics.raw_pitch_accuracy(tone(69), wrong)


# --- onsets and envelopes


def test_onsets_of_plucked_tones_are_found():
    audio, played = scale([60, 67, 64, 72, 65])
    assert metrics.onset_f1(audio, played) == 1
    # A score shifted by more than the window matches nothing.
    late = Notes(played.onset + 0.15, played.duration, played.pitch, played.velocity)
    assert metrics.onset_f1(audio, late) == 0


def test_onset_f1_counts_missed_and_false_onsets():
    audio, played = scale([60, 67, 64, 72, 65])  # 4 onsets after the first, which is at time 0
    half = notes((0, 1, 60), (1.0, 1, 64), (2.0, 0.5, 65))  # 2 of them
    assert metrics.onset_f1(audio, half) == pytest.approx(2 * 2 / (2 + 4))
    chord = notes((0.5, 0.5, 60), (0.5, 0.5, 64), (1.0, 0.5, 64), (1.5, 0.5, 64), (2.0, 0.5, 60))
    assert metrics.onset_f1(audio, chord) == 1


def test_onset_f1_of_silence():
    assert metrics.onset_f1(SILENCE, notes((0.5, 1, 60))) == 0
    assert metrics.onset_f1(SILENCE, notes((0, 1, 60))) == 1


def test_onset_f1_is_mir_evals():
    audio, played = scale([60, 67, 64, 72, 65])
    shifted = notes((0, 1, 60), (0.52, 0.5, 60), (1.2, 0.5, 60))
    detected = played.onset[1:]
    expected = mir_eval.onset.f_measure(shifted.onset[1:], detected, window=0.05)[0]
    assert metrics.onset_f1(audio, shifted) == pytest.approx(expected)


def test_envelopes_of_decaying_swelling_and_sustained_notes():
    decaying, swelling = tone(69) * np.exp(-2 * TIME), tone(69) * np.exp(2 * (TIME - 2))
    played = notes((0.2, 1.5, 69))
    assert metrics.envelope_correlation(decaying, 0.1 * decaying, played) == pytest.approx([1], abs=1e-3)
    assert metrics.envelope_correlation(swelling, decaying, played) == pytest.approx([-1], abs=1e-2)
    assert metrics.envelope_correlation(SILENCE, decaying, played) == [0]
    # In dB an exponential is a line, so a decay of another speed agrees perfectly.
    assert metrics.envelope_correlation(tone(69) * np.exp(-TIME), decaying, played) == pytest.approx([1], abs=1e-2)


def test_envelopes_of_long_notes_only():
    audio = tone(69) * np.exp(-TIME)
    assert len(metrics.envelope_correlation(audio, audio, notes((0, 0.99, 69), (1, 0.9, 69)))) == 0
    assert len(metrics.envelope_correlation(audio, audio, notes((0, 1.0, 69), (1, 1.0, 69)))) == 2
    # A note that the end of the clip cuts below one second is not long.
    assert len(metrics.envelope_correlation(audio, audio, notes((1.5, 3, 69)))) == 0
    assert len(metrics.envelope_correlation(audio, audio, notes((0, 0.5, 69)), min_duration=0.4)) == 1


def test_the_slope_of_a_held_note_is_its_decay():
    long = notes((0, 1.5, 69))
    for rate in (-30.0, 0.0, 12.0):
        assert metrics.held_slope(tone(69) * 10 ** (rate * TIME / 20), long) == pytest.approx([rate], abs=0.1)
    # A gain changes nothing, an attack and a release are left out.
    note = np.where((TIME > 0.08) & (TIME < 1.42), tone(69), 0)
    assert metrics.held_slope(0.01 * note, long) == pytest.approx([0], abs=0.1)
    assert metrics.held_slope(SILENCE, long) == pytest.approx([0])
    assert len(metrics.held_slope(tone(69), notes((0, 0.9, 69), (0.5, 0.95, 69)))) == 0
    # Two notes at once are one level; a third that ends elsewhere is another.
    assert len(metrics.held_slope(tone(69), notes((0, 1.5, 69), (0, 1.5, 60), (0, 1.2, 64)))) == 2


def test_levels_are_decibels_of_the_root_mean_square():
    times, level = metrics.level_curve(0.1 * np.ones(4096, dtype=np.float32))
    assert times[1] == pytest.approx(256 / 22050) and level[len(level) // 2] == pytest.approx(-20, abs=1e-3)
    assert (metrics.level_curve(SILENCE)[1] == -80).all()


# --- bad input and limits, for all


@pytest.mark.parametrize("function", PAIRWISE)
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


@pytest.mark.parametrize("function", [metrics.raw_pitch_accuracy, metrics.onset_f1])
def test_bad_audio_is_refused_against_a_score(function):
    with pytest.raises(AstError, match="NaN"):
        function(np.full(4096, np.nan), notes((0, 0.1, 69)))
    with pytest.raises(AstError, match="shape"):
        function(np.zeros(0), notes((0, 0.1, 69)))


@pytest.mark.parametrize("function", PAIRWISE)
@pytest.mark.filterwarnings("error")
def test_silence_has_a_finite_value(function):
    audio = noise(0)
    for estimate, truth in [(SILENCE, audio), (audio, SILENCE), (SILENCE, SILENCE)]:
        assert np.isfinite(function(estimate, truth))


@pytest.mark.parametrize("samples", [1, 300, 2000])
@pytest.mark.filterwarnings("error")
def test_short_clips_have_a_value(samples):
    x, y = noise(0, samples), noise(1, samples)
    assert metrics.lsd(x, x) == 0 <= metrics.lsd(x, y) < 60
    assert metrics.chroma_cosine(x, x) == pytest.approx(1)
    assert 0 <= metrics.raw_pitch_accuracy(x, notes((0, 1, 69))) <= 1
    assert metrics.onset_f1(x, notes((0, 1, 69))) in (0, 1)
    assert len(metrics.envelope_correlation(x, y, notes((0, 1, 69)))) == 0


def test_tensors_and_arrays_agree():
    x, y = noise(0), tone(69)
    for function in PAIRWISE:
        assert function(torch.from_numpy(x), torch.from_numpy(y)) == function(x, y)
