"""Rooms: the level stays, a click gets a tail, and no clip hears another one's room."""

import pytest
import torch

from ast_lib.data.rooms import record_in_room


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_room_keeps_level_and_length_and_leaves_the_other_clips_alone():
    audio = torch.randn(40, 4000, generator=torch.Generator().manual_seed(1)) * 0.07
    heard = record_in_room(audio, 22050, 0.5, torch.Generator().manual_seed(0))
    changed = (heard != audio).any(dim=1)
    assert 10 <= changed.sum() <= 30
    torch.testing.assert_close(heard.square().mean(1), audio.square().mean(1))
    assert torch.equal(record_in_room(audio, 22050, 0.0, torch.Generator()), audio)
    again = record_in_room(audio, 22050, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(again, heard)


def test_a_room_answers_a_click_with_a_decaying_tail_and_silence_with_silence():
    click = torch.zeros(1, 22050)
    click[0, 0] = 1.0
    tail = record_in_room(click, 22050, 1.0, torch.Generator().manual_seed(3))[0]
    first, last = tail[100:5000].square().mean(), tail[-5000:].square().mean()
    assert tail.abs().argmax() == 0 and first > last > 0
    assert not record_in_room(torch.zeros(1, 22050), 22050, 1.0, torch.Generator().manual_seed(3)).any()


def test_nothing_is_heard_before_it_sounds_but_the_floor_of_noise():
    click = torch.zeros(100, 22050)
    click[:, 1000] = 1.0
    heard = record_in_room(click, 22050, 1.0, generator())
    level = (1 / 22050) ** 0.5  # of the click's clip
    before = heard[:, :1000].square().mean(dim=1).sqrt() / level
    assert 10 ** (-70 / 20) * 0.8 < before.min() and before.max() < 10 ** (-25 / 20) * 1.15
    assert (heard.abs().argmax(dim=1) == 1000).all()  # the direct sound stays the loudest


@pytest.mark.parametrize("samples", [1, 500])
def test_a_room_is_longer_than_a_short_clip(samples):
    audio = 0.07 * torch.randn(3, samples, generator=generator())
    heard = record_in_room(audio, 22050, 1.0, generator(1))
    assert heard.shape == audio.shape
    torch.testing.assert_close(heard.square().mean(dim=1), audio.square().mean(dim=1), rtol=1e-3, atol=0)


def test_nan_stays_in_its_clip():
    audio = 0.07 * torch.randn(2, 1000, generator=generator())
    expected = record_in_room(audio, 22050, 1.0, generator(1))
    audio[0, 3] = float("nan")
    heard = record_in_room(audio, 22050, 1.0, generator(1))
    assert heard[0].isnan().all() and torch.equal(heard[1], expected[1])
