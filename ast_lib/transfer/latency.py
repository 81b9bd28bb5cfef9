"""Latency: sources and the styles of two voices in; the sources moved by the difference of the voices' latencies out.

Chapters: ``notebooks/10b_decoding.md``, ``notebooks/11_training.md``. The content encoder encodes when a note is heard,
and unpaired training cannot see that the same score sounds a little later on another instrument: each clip is only ever
compared with itself. So the voices' latencies are measured on single notes (:mod:`ast_lib.data.onsets`), stored with
the weights, and the source is moved by their difference before it is encoded. Where another voice plays a clip in
training (``training.domain_randomisation``), it is moved in the same way: content would otherwise have two latencies.
"""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from ast_lib.audio.streams import BLOCK, Stream, cut
from ast_lib.networks.model import TransferModel

NEAR = 0.4  # of the way to the nearest other prototype: a style further from its own is of an unseen voice


def shift(audio: Tensor, samples: Tensor) -> Tensor:
    """Clips ``(B, n)`` each later by ``samples`` ``(B,)``, earlier if below 0; silence comes in, the rest drops out."""
    index = torch.arange(audio.shape[1], device=audio.device) - samples[:, None]
    inside = (index >= 0) & (index < audio.shape[1])
    return torch.where(inside, audio.gather(1, index.clamp(0, audio.shape[1] - 1)), 0)


def delay(heard: Tensor, played: Tensor, sample_rate: int) -> Tensor:
    """Samples ``(B,)`` by which clips are moved from the latency of the voices that are heard to that to be played.

    Args:
        heard, played: latencies of the voices ``(B,)``, seconds (equation ``latency-difference``).
        sample_rate: Hz.
    """
    return ((played - heard) * sample_rate).round().long()


def shift_stream(sound: Stream, samples: Tensor) -> Stream:
    """As :func:`shift`, of a stream of clips."""
    most = int(samples.abs().max())

    def blocks() -> Iterator[Tensor]:
        silence = torch.zeros(len(samples), most, device=samples.device)
        spans = [(start, min(start + BLOCK, sound.samples) + 2 * most) for start in range(0, sound.samples, BLOCK)]
        for window in cut(itertools.chain([silence], sound.blocks(), [silence]), spans):
            yield shift(window, samples)[:, most : window.shape[1] - most]

    return Stream(blocks, sound.samples)


def known_latency(model: TransferModel, style: Tensor) -> Tensor:
    """Latency in seconds ``(B,)`` of the voice whose prototype is near each style ``(B, style_size)``; 0 if none is.

    Near is within :data:`NEAR` of the distance from that prototype to the nearest other one. An unseen voice, such as
    anybody's recording, is taken to be heard in time: people play so that they are.
    """
    prototypes = model.prototypes
    apart = torch.cdist(prototypes, prototypes).fill_diagonal_(torch.inf).min(dim=1).values
    distance, voice = torch.cdist(style.float(), prototypes).min(dim=1)
    return torch.where(distance <= NEAR * apart[voice], model.latency[voice], 0.0)


def in_time(model: TransferModel, source: Stream, style: Tensor) -> Stream:
    """Sources moved by the latency of the voice to be played minus that of the voice that plays.

    Both voices are known by their styles, ``style`` ``(B, style_size)`` and that of the whole source. A model without
    latencies (``model.align_onsets=false``) leaves the sources as they are.
    """
    if not model.latency.any():
        return source
    heard = known_latency(model, model.style_of(source))
    return shift_stream(source, delay(heard, known_latency(model, style), model.config.representation.sample_rate))
