"""The listener: what its features depend on, and that it knows instruments on a soundfont that it never heard."""

import numpy as np
import pytest
import torch
from models import made_pieces, noise

from ast_lib.data.clips import paired_clips
from ast_lib.data.synth import shared_synth
from ast_lib.evaluation.listener import average_spectrum, called, movement, timbre, train_listener


def test_movement_is_of_levels_and_does_not_depend_on_the_loudness():
    time = np.arange(22050) / 22050
    steady = noise(1.0)
    decaying = (steady * 10 ** (-20 * time / 20)).astype(np.float32)  # 20 dB a second
    found = movement(np.stack([steady, decaying])).reshape(2, 7, 8)
    # The median change in a band within 4 frames of 256 samples.
    assert found[0, 3] == pytest.approx(np.zeros(8), abs=0.6)
    assert found[1, 3] == pytest.approx(np.full(8, -20 * 1024 / 22050), abs=0.6)
    assert (np.diff(found, axis=1) >= 0).all()  # quantiles rise
    for features in (movement, average_spectrum):
        np.testing.assert_allclose(features(0.01 * decaying[None]), features(decaying[None]), atol=0.01)


def test_a_filter_moves_the_average_spectrum_and_not_the_movement():
    sound = noise(1.0)
    filtered = np.convolve(sound, [1.0, 0.7], mode="same").astype(np.float32)  # less treble, by up to 15 dB
    both = np.stack([sound, filtered])
    assert np.abs(np.diff(movement(both), axis=0)).max() < 1
    assert np.abs(np.diff(average_spectrum(both), axis=0)).max() > 10
    np.testing.assert_array_equal(timbre(both), np.concatenate([average_spectrum(both), movement(both)], axis=1))


def test_silence_does_not_move():
    assert movement(np.zeros((1, 8000), np.float32)).tolist() == [[0.0] * 56]
    assert np.isfinite(average_spectrum(np.zeros((1, 8000), np.float32))).all()


def test_a_listener_knows_instruments_on_a_soundfont_that_it_never_heard():
    pieces, instruments = made_pieces(8), ("piano", "violin")
    lessons = paired_clips(pieces[::2], instruments, 4.0, 0, shared_synth())
    listener = train_listener({"TimGM6mb": lessons}, instruments)
    heard = paired_clips(pieces[1::2], instruments, 4.0, 1, shared_synth("Merlin"))
    for instrument, other in (instruments, instruments[::-1]):
        audio = torch.from_numpy(np.stack([clip.audio[instrument] for clip in heard]))
        assert called(listener, audio, instrument).mean() >= 0.9
        assert called(listener, audio, other).tolist() == (1 - called(listener, audio, instrument)).tolist()
