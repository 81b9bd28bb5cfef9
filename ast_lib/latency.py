"""Latency: how long after its time in the score a note of each voice is heard, and sources moved by the difference.

Chapters: ``notebooks/10_decoder.md``, ``notebooks/11_training.md``. A bow needs tens of milliseconds to speak, a hammer
none. The content encoder keeps the clock of what it hears, and unpaired training cannot know that the same score sounds
a little later on another instrument: each clip is only ever compared with itself. So the voices' latencies are measured
on single notes, stored with the weights, and the source is moved by their difference before it is encoded. Where
another player plays a clip in training (``training.another_voice``), that player is moved in the same way: two clocks
in one code would be one blurred clock.
"""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ast_lib.model import TransferModel
from ast_lib.streams import BLOCK, Stream, cut

if TYPE_CHECKING:
    from ast_lib.synth import Synth

BELOW = 15.0  # dB below a note's loudest, where it begins to be heard: Vos and Rasch found 6 to 15, see chapter 10
PITCHES = range(55, 91, 3)  # G3, a violin's lowest note, to F#6
BEFORE = 0.1  # seconds of silence before the note
NEAR = 0.4  # of the way to the nearest other prototype: a style further from its own is a stranger's


def onset_delay(sound: np.ndarray, sample_rate: int, start: float, below: float = BELOW) -> float:
    """Seconds from ``start`` until a sound first comes within ``below`` dB of its loudest; 0 for silence.

    The level is the root mean square of the 10 ms around a sample.

    Args:
        sound: ``(samples,)``, one note.
        sample_rate: Hz.
        start: where the score has the note, seconds.
        below: dB.

    Source: Vos and Rasch, "The perceptual onset of musical tones" (1981).
    """
    width = round(0.01 * sample_rate) | 1
    power = np.convolve(np.square(sound, dtype=np.float64), np.ones(width) / width, "same")
    if power.max() == 0:
        return 0.0
    return float(np.argmax(power >= power.max() * 10 ** (-below / 10))) / sample_rate - start


def voice_latency(synth: "Synth", instrument: str, below: float = BELOW) -> float:
    """Median :func:`onset_delay` of an instrument's notes at :data:`PITCHES`, held for a second, in seconds."""
    # Imported here: to transfer a file takes no synthesiser.
    from ast_lib.scores import Notes
    from ast_lib.synth import BLOCK

    one = np.ones(1)
    return float(
        np.median(
            [
                onset_delay(
                    synth.render(Notes(BEFORE * one, one, pitch * one, 80 * one), instrument, BEFORE + 1),
                    synth.sample_rate,
                    round(BEFORE * synth.sample_rate / BLOCK) * BLOCK / synth.sample_rate,  # where the synth begins it
                    below,
                )
                for pitch in PITCHES
            ]
        )
    )


def shift(audio: Tensor, samples: Tensor) -> Tensor:
    """Clips ``(B, n)`` each later by ``samples`` ``(B,)``, earlier if below 0; silence comes in, the rest drops out."""
    index = torch.arange(audio.shape[1], device=audio.device) - samples[:, None]
    inside = (index >= 0) & (index < audio.shape[1])
    return torch.where(inside, audio.gather(1, index.clamp(0, audio.shape[1] - 1)), 0)


def delay(heard: Tensor, played: Tensor, sample_rate: int) -> Tensor:
    """Samples ``(B,)`` from the latencies heard to those to be played, seconds (equation ``latency-difference``)."""
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


def align(audio: Tensor, heard: Tensor, played: Tensor, sample_rate: int) -> Tensor:
    """Clips ``(B, n)`` moved from the clock of the voices that are heard to that of the voices to be played.

    Args:
        heard, played: latencies of the voices ``(B,)``, seconds (equation ``latency-difference``).
        sample_rate: Hz.
    """
    return shift(audio, delay(heard, played, sample_rate))


def known_latency(model: TransferModel, style: Tensor) -> Tensor:
    """Latency in seconds ``(B,)`` of the voice whose prototype is near each style ``(B, style_size)``; 0 if none is.

    Near is within :data:`NEAR` of the distance from that prototype to the nearest other one. A stranger, such as
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
