"""Levels: what is measured, and pauses that stay quiet while notes that die away are held."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import noise, tone

from ast_lib.audio.levels import FRAME, dynamics_gain, measure, normalise_rms, pause_gain, with_gain

RATE = 22050


def powers(audio):
    return measure([audio]).powers


def decibels(audio):
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20)


# --- Measuring


@given(st.lists(st.integers(0, 700), min_size=1, max_size=8).filter(sum))
@settings(deadline=None, max_examples=40)
def test_powers_are_those_of_the_frames_whatever_the_blocks(lengths):
    audio = np.random.default_rng(0).normal(size=sum(lengths)).astype(np.float32)
    level = measure(np.split(audio, np.cumsum(lengths)[:-1]))
    expected = [np.mean(np.square(audio[i : i + FRAME], dtype=np.float64)) for i in range(0, len(audio), FRAME)]
    np.testing.assert_allclose(level.powers, expected, rtol=1e-12)
    assert level.samples == len(audio)
    assert level.rms == pytest.approx(np.sqrt(np.mean(np.square(audio, dtype=np.float64))), rel=1e-12)


def test_a_known_level():
    assert measure([np.full(1000, 0.5, np.float32)]).rms == 0.5
    assert normalise_rms(np.full(10, 0.5, np.float32), 0.1).tolist() == pytest.approx([0.1] * 10)


def test_every_signal_of_a_batch_is_brought_to_the_level_and_silence_stays():
    audio = torch.stack(
        [torch.full((100,), -0.5), torch.linspace(-1, 1, 100), torch.zeros(100), torch.full((100,), 1e-6)]
    )
    scaled = normalise_rms(audio, 0.2)
    assert scaled.square().mean(dim=1).sqrt()[:2].tolist() == pytest.approx([0.2, 0.2])
    assert torch.equal(scaled[2:], audio[2:])
    torch.testing.assert_close(scaled[0], torch.full((100,), -0.2))
    torch.testing.assert_close(normalise_rms(scaled, 0.2), scaled)
    assert normalise_rms(torch.ones(1, 1)).item() == pytest.approx(0.07)
    array = normalise_rms(audio.numpy(), 0.2)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, scaled, rtol=1e-6)
    np.testing.assert_array_equal(normalise_rms(audio[1].numpy(), 0.2), array[1])


def test_nan_stays_visible():
    assert normalise_rms(torch.tensor([[float("nan"), 1.0]])).isnan().any()
    assert np.isnan(normalise_rms(np.array([np.nan, 1.0]))).any()


# --- Gain over time


def test_gain_is_that_of_the_middle_of_a_frame_and_between_them_in_proportion():
    gain = np.array([1.0, 0.5, 0.5, 0.0])
    (found,) = with_gain([np.ones(4 * FRAME, np.float32)], gain)
    assert found.dtype == np.float32
    assert found[: FRAME // 2].tolist() == [1.0] * (FRAME // 2)
    assert found[FRAME - 1] + found[FRAME] == pytest.approx(1.5)  # on both sides of the boundary
    assert found[2 * FRAME - 10] == 0.5 and found[-10] == 0.0
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize("length", [1, 100, 256, 5000])
def test_gain_does_not_depend_on_the_blocks(length):
    audio, gain = noise(0.5), np.random.default_rng(1).uniform(size=44)
    (whole,) = with_gain([audio], gain)
    blocks = [audio[i : i + length] for i in range(0, len(audio), length)]
    np.testing.assert_allclose(np.concatenate(list(with_gain(blocks, gain))), whole, rtol=1e-6)


# --- Pauses


def phrase(pause, seconds=1.5):
    """Three seconds of a tone at -20 dB, a pause, three seconds of the tone; and where the pause is."""
    played = tone(3.0, amplitude=0.1 * np.sqrt(2))
    silent = np.zeros(round(seconds * RATE), np.float32)
    audio = np.concatenate([played, silent, played])
    inside = slice(len(played) + 2000, len(played) + len(silent) - 2000)
    return audio + pause(len(audio)).astype(np.float32), inside


def white(db):
    return lambda n: np.random.default_rng(0).normal(0, 10 ** (db / 20), n)


def hum(db):
    return lambda n: 10 ** (db / 20) * np.sqrt(2) * np.sin(2 * np.pi * 50 * np.arange(n) / RATE)


@pytest.mark.parametrize("pause", [white(-52), white(-60), white(-78), hum(-60), hum(-80), lambda n: np.zeros(n)])
@pytest.mark.parametrize("seconds", [0.8, 1.5, 8.0])
def test_what_is_heard_in_a_pause_stays_as_quiet_as_it_was(pause, seconds):
    source, inside = phrase(pause, seconds)
    output = noise(len(source) / RATE, rms=0.1)[: len(source)]  # as loud in the pause as in the music
    gain = pause_gain(powers(source), powers(output))
    (quiet,) = with_gain([output], gain)
    assert decibels(quiet[inside]) < max(decibels(source[inside]), -125) + 1.5  # both have their music at -20 dB
    assert (gain[: 3 * RATE // FRAME - 12] == 1).all() and (gain[-3 * RATE // FRAME + 12 :] == 1).all()


def test_a_pause_shorter_than_half_a_second_is_known_by_the_room_of_a_longer_one():
    long, inside = phrase(white(-60))
    short, within = phrase(white(-60), 0.4)
    for source, gated in ((np.concatenate([long, short]), True), (short, False)):
        output = noise(len(source) / RATE, rms=0.1)[: len(source)]
        (quiet,) = with_gain([output], pause_gain(powers(source), powers(output)))
        start = len(source) - len(short)
        found = decibels(quiet[start + within.start : start + within.stop])
        assert (found < -58) == gated


@pytest.mark.parametrize("fall", [6.5, 10.0, 20.0])  # dB a second: low to high notes of a piano
def test_a_note_that_dies_away_may_be_held(fall):
    """Down to 40 dB below the loudest; from there to 50 the bound comes in."""
    time = np.arange(round(40 / fall * RATE)) / RATE
    source = tone(len(time) / RATE, amplitude=0.3)[: len(time)] * 10 ** (-fall * time / 20)
    held = tone(len(time) / RATE)[: len(time)]
    gain = pause_gain(powers(source.astype(np.float32)), powers(held))
    assert gain[: round(0.93 * len(gain))].min() > 0.97


def test_nothing_is_made_louder_and_soft_music_is_not_touched():
    """Soft and steady, 25 dB below; and an output that is softer than its source in the pause."""
    source, inside = phrase(white(-45))
    output = noise(len(source) / RATE, rms=0.1)[: len(source)]
    assert (pause_gain(powers(source), powers(output)) == 1).all()
    source, inside = phrase(white(-60))
    softer, _ = phrase(white(-80))
    gain = pause_gain(powers(source), powers(softer))
    assert gain.max() == 1 and gain[inside.start // FRAME : inside.stop // FRAME].min() == 1


@pytest.mark.parametrize("frames", [1, 2, 50])
def test_short_and_silent_sounds_have_a_gain(frames):
    assert pause_gain(np.ones(frames), np.ones(frames)).tolist() == [1.0] * frames
    assert np.isfinite(pause_gain(np.ones(frames), np.zeros(frames))).all()


# --- Dynamics


def struck(decibels, seconds=1.5, decay=20.0):
    """A tone that is struck at each of these levels in turn, and dies away by ``decay`` dB/s."""
    time = np.arange(round(seconds * RATE)) / RATE
    strokes = [10 ** ((level - decay * time) / 20) * np.minimum(time / 0.01, 1) for level in decibels]
    return (
        0.1 * np.concatenate(strokes) * np.sin(2 * np.pi * 440 * np.arange(len(time) * len(decibels)) / RATE)
    ).astype(np.float32)


def test_the_output_follows_the_phrases_of_its_source():
    """Ten strokes 12 dB softer after ten loud ones; away from the step the difference of the gains is 12 dB."""
    source, output = struck([0] * 10 + [-12] * 10), struck([0] * 20)
    gain = 20 * np.log10(dynamics_gain(powers(source), powers(output)))
    quarter = len(gain) // 4
    loud, soft = gain[quarter // 2 : quarter], gain[3 * quarter : -quarter // 2]
    assert np.ptp(loud) < 0.01 and np.ptp(soft) < 0.01 and loud.mean() - soft.mean() == pytest.approx(12, abs=0.01)
    assert (np.diff(gain[quarter:-quarter]) < 1e-9).all()  # one slope, as long as some seconds


def test_a_note_that_holds_is_not_pulled_down_by_one_that_dies_away():
    source, held = struck([0, -3, 0, 3, 0, -3]), struck([0, -3, 0, 3, 0, -3], decay=0)
    gain = 20 * np.log10(dynamics_gain(powers(source), powers(held)))
    assert np.abs(gain).max() < 2  # the ends of the notes are 30 dB apart


@pytest.mark.parametrize(("x", "y"), [(1.0, 1.0), (30.0, 0.01)])
def test_levels_of_whole_sounds_do_not_matter_to_dynamics(x, y):
    source, output = struck([0, -10, 0, 5]), struck([0, 0, 0, 0])
    assert dynamics_gain(x * powers(source), y * powers(output)) == pytest.approx(
        dynamics_gain(powers(source), powers(output)), rel=1e-6
    )


def test_without_a_stroke_there_are_no_dynamics():
    output = struck([0, -6])
    for source in (np.zeros_like(output), np.ones_like(output)):
        assert (dynamics_gain(powers(source), powers(output)) == 1).all()
    assert (dynamics_gain(powers(output)[:1], powers(output)[:1]) == 1).all()
    faint = powers(np.ones_like(output))
    faint[len(faint) // 2] *= 1 + 1e-9  # a rise that is only just one
    assert np.isfinite(dynamics_gain(faint, powers(output)[: len(faint)])).all()
