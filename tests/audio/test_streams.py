"""Streams: windows from blocks of any lengths, contexts around blocks, sound that can be read again."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.audio.streams import Stream, cut, under


@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(1, 9), st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_windows_are_those_of_the_whole_whatever_the_blocks(lengths, size, overlap):
    whole = torch.arange(2.0 * sum(lengths)).view(2, -1)
    step = max(size - overlap, 1)
    spans = [(start, min(start + size, whole.shape[1])) for start in range(0, whole.shape[1], step)]
    windows = list(cut(whole.split(lengths, dim=1), spans))
    assert [window.tolist() for window in windows] == [whole[:, start:stop].tolist() for start, stop in spans]


def test_no_block_is_read_before_its_window_is_wanted():
    read = []

    def blocks():
        for index in range(5):
            read.append(index)
            yield torch.full((1, 4), float(index))

    windows = cut(blocks(), [(0, 4), (2, 6), (8, 9)])
    assert read == []
    assert next(windows).tolist() == [[0, 0, 0, 0]] and read == [0]
    assert next(windows).tolist() == [[0, 0, 1, 1]] and read == [0, 1]
    assert next(windows).tolist() == [[2]] and read == [0, 1, 2]


def test_blocks_are_computed_in_their_context_and_read_outside_of_it():
    state = []

    @contextlib.contextmanager
    def context():
        state.append("in")
        yield
        state.append("out")

    inside = []
    blocks = under(context, (inside.append(state[-1]) or index for index in range(2)))
    assert [(block, state[-1]) for block in blocks] == [(0, "out"), (1, "out")]
    assert inside == ["in", "in"]


def test_autocast_reaches_the_blocks_of_the_inner_stream_only():
    a = torch.eye(2)
    inner = under(lambda: torch.autocast("cpu", enabled=False), (a @ a for _ in range(1)))
    outer = under(lambda: torch.autocast("cpu", torch.bfloat16), ((block.dtype, (a @ a).dtype) for block in inner))
    assert next(outer) == (torch.float32, torch.bfloat16) and (a @ a).dtype == torch.float32


def test_a_stream_can_be_read_again():
    audio = torch.arange(6.0).view(2, 3)
    stream = Stream.of(audio)
    assert stream.samples == 3 and torch.equal(stream.whole(), audio) and torch.equal(stream.whole(), audio)


def test_a_stream_that_ends_early_is_an_error():
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(cut([torch.zeros(1, 3)], [(0, 4)]))
