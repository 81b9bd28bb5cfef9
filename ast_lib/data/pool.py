"""Pool: training pieces and synths in; a folder of performances, from which batches are cut, out.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/11_training.md`` (what is heard). A performance is ten seconds, as a
clip of the paper's dataset is. It is rendered when first asked for and kept as a FLAC file, ``piano/0012.flac``, that
any program plays; what it is depends on the seed and its number alone. A second channel, where there is one, is what
the content encoder hears: the same performance by another player, who may play another soundfont or a third instrument,
with vibrato, at its own latency.
"""

import inspect
import io
import os
import pathlib
from collections.abc import Sequence

import joblib
import numpy as np
import soundfile

from ast_lib.audio.levels import normalise_rms
from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.config import Config
from ast_lib.data import clips, onsets, scores, synth
from ast_lib.data.samplers import Cut
from ast_lib.data.scores import Piece
from ast_lib.data.synth import Synth
from ast_lib.files import write_bytes

SECONDS = 10.0  # of a performance
PEAK = 0.9  # of what is stored, so that 16 bits neither clip nor hiss
ANOTHER_VOICE = 0.5  # share of performances that are heard on a random soundfont
VIBRATO = 0.5  # share of performances that are heard with it
# General-MIDI instruments that are heard and never played. Flute, guitar and vibraphone are kept for tests.
THIRD = ("harpsichord", "church_organ", "accordion", "orchestral_harp", "cello", "trumpet", "oboe", "clarinet")
NO_VOICE = -100  # label of what is heard on a third instrument: cross-entropy ignores it


class Pool:
    """The performances of a run; item ``(label, number)`` is performance ``number`` of instrument ``label``.

    Args:
        config: of the run.
        train: pieces by instrument, as in :class:`ast_lib.data.clips.Splits`.
        synths: one per soundfont of the configuration.
        cache: folder that keeps the performances, in a folder of their own for everything they depend on.

    Attributes:
        items: by voice.
    """

    def __init__(
        self, config: Config, train: dict[str, list[Piece]], synths: Sequence[Synth], cache: str | os.PathLike
    ):
        self.config, self.train, self.synths = config, train, synths
        self.fonts = np.repeat(np.arange(len(synths)), config.soundfont_shares)
        instruments, training = len(config.instruments), config.training
        self.items = [
            [(label, n) for n in range(config.data.performances) if self.fonts[n % len(self.fonts)] == font]
            for font in range(len(synths))
            for label in range(instruments)
        ]
        # What is a class of this run is no third instrument: training would hear it as another class's pair.
        own = {synth.program_of(name) for name in config.instruments}
        self.third = [name for name in THIRD if synth.program_of(name) not in own]
        self.two_channels = training.domain_randomisation or training.third_instruments > 0
        depends = [inspect.getsource(module) for module in (clips, onsets, scores, synth, inspect.getmodule(Pool))]
        depends += [train, [each.soundfont for each in synths], config.instruments, training.seed]
        depends += [training.domain_randomisation, training.third_instruments, config.model.align_onsets]
        self.folder = pathlib.Path(cache) / "performances" / joblib.hash(depends)

    def cut(self, item: tuple[int, int], position: float, samples: int) -> Cut:
        """``samples`` of a performance, from ``position`` (0 to 1) of what can be their start."""
        label, number = item
        rng, voice, heard = self._players(label, number)
        path = self.folder / self.config.instruments[label] / f"{number:04d}.flac"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with io.BytesIO() as file:
                soundfile.write(file, self._render(label, rng, voice, heard), SAMPLE_RATE, format="FLAC")
                write_bytes(path, file.getvalue())
        start = int(position * (round(SECONDS * SAMPLE_RATE) - samples + 1))
        sounds, _ = soundfile.read(path, samples, start, dtype="float32", always_2d=True)
        first, last = sounds.T[0], sounds.T[-1]
        return Cut(normalise_rms(first), self._label(*voice), normalise_rms(last), self._label(*heard))

    def _label(self, font: int, instrument: str) -> int:
        """Number of a voice, or :data:`NO_VOICE`."""
        known = self.config.instruments
        return font * len(known) + known.index(instrument) if instrument in known else NO_VOICE

    def _players(self, label: int, number: int) -> tuple[np.random.Generator, tuple[int, str], tuple[int, str]]:
        """The source of chance of a performance, and soundfont and instrument of who plays and of who is heard."""
        rng, training = np.random.default_rng([self.config.training.seed, label, number]), self.config.training
        font, instrument = int(self.fonts[number % len(self.fonts)]), self.config.instruments[label]
        other, third, another = int(rng.integers(len(self.synths))), rng.choice(self.third), rng.random(2)
        if another[0] < training.third_instruments:
            return rng, (font, instrument), (other, str(third))
        changes = training.domain_randomisation and another[1] < ANOTHER_VOICE
        return rng, (font, instrument), (other if changes else font, instrument)

    def _render(self, label: int, rng: np.random.Generator, *players: tuple[int, str]) -> np.ndarray:
        """``(samples, channels)`` with peaks at :data:`PEAK`."""
        free, pieces = self.config.training.domain_randomisation, self.train[self.config.instruments[label]]
        piece = pieces[rng.integers(len(pieces))]
        whole = not piece.notes.monophonic and rng.random() < clips.EXTENSION
        notes = clips.excerpt(piece, SECONDS, rng, extension=whole, free=free)
        sounds = []
        for channel, (font, instrument) in enumerate(players[: 1 + self.two_channels]):
            if channel and players[0] == players[1] and not free:
                sounds.append(sounds[0])
                continue
            player, tuning = self.synths[font], 0.0
            if channel and free and rng.random() < VIBRATO:
                tuning = clips.vibrato(SECONDS + clips.PREROLL, rng)
            sound, late = player.render(notes, instrument, SECONDS + clips.PREROLL, tuning), 0
            if channel and self.config.model.align_onsets:
                own, theirs = (onsets.voice_latency(self.synths[each], name) for each, name in players)
                late = round((own - theirs) * SAMPLE_RATE)
            start = round(clips.PREROLL * SAMPLE_RATE) - late
            sound = np.pad(sound, (0, max(late, 0) + SAMPLE_RATE))[start : start + round(SECONDS * SAMPLE_RATE)]
            sounds.append(PEAK * sound / max(np.abs(sound).max(), 1e-8))
        return np.stack(sounds, axis=1)
