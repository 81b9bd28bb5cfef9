"""The pool: a performance is one file, the same whoever asks and when; what is heard begins with what is played."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from models import made_pieces, tiny

from ast_lib.audio import SAMPLE_RATE
from ast_lib.audio.levels import RMS
from ast_lib.data import pool as pools
from ast_lib.data import synth
from ast_lib.data.clips import EXTENSION, PREROLL, split_by_piece
from ast_lib.data.onsets import onset_delay, voice_latency
from ast_lib.data.pool import NO_VOICE, PEAK, SECONDS, THIRD, Pool
from ast_lib.data.scores import Notes
from ast_lib.data.synth import program_of, shared_synth
from ast_lib.errors import AstError

WHOLE = round(SECONDS * SAMPLE_RATE)
PLAIN = ("training.domain_randomisation=false", "training.third_instruments=0", "model.align_onsets=false")
HEARD = ("training.domain_randomisation=true", "training.third_instruments=0.5")
TRAIN = split_by_piece(made_pieces(), ("piano", "violin"), 0, 2, 2).train


def pool(folder, *assignments, train=TRAIN):
    """The clip itself is heard, unless the assignments change it."""
    config = tiny(*PLAIN, *assignments)
    return Pool(config, train, [shared_synth(font) for font in config.soundfonts], folder)


def files(made):
    """The content of each file of a pool, by its name."""
    return {str(path.relative_to(made.folder)): path.read_bytes() for path in sorted(made.folder.rglob("*.*"))}


def every_item(made):
    return [item for voice in made.items for item in voice]


def render(folder, assignments, backwards):
    """Ask for every item, in one order or the other; in a process of its own, see below."""
    made = pool(folder, *assignments)
    for item in every_item(made)[:: -1 if backwards else 1]:
        made.cut(item, 0.5, 100)
    return files(made)


def rms(sound):
    return np.sqrt(np.mean(np.square(sound, dtype=np.float64)))


# --- Files


@pytest.mark.parametrize("assignments", [(), HEARD])
def test_a_performance_is_the_same_in_whichever_order_it_is_asked_for(tmp_path, assignments):
    forwards, backwards = (render(tmp_path / str(order), assignments, order) for order in (False, True))
    assert forwards == backwards
    names = [f"{instrument}/{number:04d}.flac" for instrument in ("piano", "violin") for number in range(4)]
    assert list(forwards) == names and len(set(forwards.values())) == 8


def test_two_processes_that_share_a_folder_leave_what_one_does(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        jobs = [(tmp_path / "shared", HEARD, False), (tmp_path / "shared", HEARD, True)]
        processes.starmap(render, jobs, chunksize=1)
    shared = files(pool(tmp_path / "shared", *HEARD))
    assert shared == render(tmp_path / "alone", HEARD, False)


@pytest.mark.parametrize(("assignments", "channels"), [((), 1), (HEARD, 2), (HEARD[:1], 2), (HEARD[1:], 2)])
def test_a_file_is_ten_seconds_that_any_program_plays(tmp_path, assignments, channels):
    made = pool(tmp_path, *assignments)
    made.cut((1, 2), 0.3, 1000)
    (path,) = made.folder.rglob("*.*")
    info = soundfile.info(path)
    assert path == made.folder / "violin" / "0002.flac"
    assert (info.format, info.subtype, info.frames, info.samplerate, info.channels) == (
        "FLAC", "PCM_16", WHOLE, SAMPLE_RATE, channels
    )  # fmt: skip
    sound, _ = soundfile.read(path, always_2d=True)
    assert np.abs(sound).max(axis=0) == pytest.approx(np.full(channels, PEAK), abs=1e-4)


def test_a_performance_is_rendered_once(tmp_path, monkeypatch):
    first = pool(tmp_path).cut((0, 1), 0.25, 5000)
    monkeypatch.setattr(Pool, "_render", lambda *_: pytest.fail("rendered again"))
    again = pool(tmp_path).cut((0, 1), 0.25, 5000)
    assert np.array_equal(first.clip, again.clip)


def test_a_file_is_whole_or_absent(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    made = pool(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AstError, match=r"0003.flac.* could not be written: No space left on device"):
        made.cut((0, 3), 0.5, 100)
    assert [path for path in made.folder.rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    made.cut((0, 3), 0.5, 100)
    assert list(files(made)) == ["piano/0003.flac"]


def test_what_a_performance_depends_on_names_its_folder(tmp_path):
    fonts = ('soundfonts=["TimGM6mb", "Merlin"]', "training.batch=12")
    folder = pool(tmp_path).folder
    other = {"piano": TRAIN["piano"][1:], "violin": TRAIN["violin"]}
    folders = [
        folder,
        pool(tmp_path, train=other).folder,
        *(
            pool(tmp_path, *assignments).folder
            for assignments in (
                ["training.seed=1"],
                HEARD[:1],
                HEARD[1:],
                ["training.third_instruments=0.25"],
                ["model.align_onsets=true"],
                ['instruments=["violin", "piano"]'],
                fonts,
            )
        ),
    ]
    assert len(set(folders)) == len(folders) and {path.parent for path in folders} == {tmp_path / "performances"}
    same = ["data.performances=99", "training.batch=8", "training.seconds=0.5", "training.learning_rate=0.1"]
    assert {pool(tmp_path, assignment).folder for assignment in same} == {folder}


def test_another_process_finds_the_same_folder(tmp_path):
    code = f"import sys; sys.path[:0] = {sys.path!r}; import test_pool; print(test_pool.pool({str(tmp_path)!r}).folder)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(pool(tmp_path).folder), done.stderr


def test_another_seed_plays_something_else(tmp_path):
    one, other = (pool(tmp_path, f"training.seed={seed}") for seed in (0, 1))
    assert not np.array_equal(one.cut((0, 0), 0.0, WHOLE).clip, other.cut((0, 0), 0.0, WHOLE).clip)


# --- Cuts


@pytest.mark.parametrize("samples", [1, 1000, SAMPLE_RATE, WHOLE])
def test_cuts_from_the_first_and_the_last_possible_start_are_inside(tmp_path, samples):
    made = pool(tmp_path)
    made.cut((0, 0), 0.5, 1)
    sound, _ = soundfile.read(made.folder / "piano" / "0000.flac", dtype="float32")
    for position, start in ((0.0, 0), (np.nextafter(1, 0), WHOLE - samples)):
        cut = made.cut((0, 0), position, samples)
        assert cut.clip.shape == cut.heard.shape == (samples,) and cut.clip.dtype == np.float32
        expected = sound[start : start + samples]
        if rms(expected) > 1e-5:
            assert cut.clip == pytest.approx(expected * (RMS / rms(expected)), rel=1e-4, abs=1e-6)


def test_clips_and_what_is_heard_are_equally_loud(tmp_path):
    made = pool(tmp_path, *HEARD)
    for item in every_item(made):
        for position in (0.0, 0.4, 0.9):
            cut = made.cut(item, position, SAMPLE_RATE)
            assert [rms(cut.clip), rms(cut.heard)] == pytest.approx([RMS, RMS], rel=1e-4)


def test_without_randomisation_the_clip_itself_is_heard(tmp_path):
    made = pool(tmp_path)
    for item in every_item(made):
        cut = made.cut(item, 0.3, 4000)
        assert np.array_equal(cut.clip, cut.heard) and cut.label == cut.heard_label == item[0]


def test_what_is_played_does_not_depend_on_who_is_heard(tmp_path):
    """The first channel is the same whatever share is heard on a third instrument."""
    shares = [pool(tmp_path, f"training.third_instruments={share}") for share in (0.01, 1.0)]
    one, other = (made.cut((1, 0), 0.2, SAMPLE_RATE) for made in shares)
    assert np.array_equal(one.clip, other.clip) and np.abs(one.heard - other.heard).max() > 0.05


# --- Voices


def test_items_are_the_performances_of_each_voice(tmp_path):
    made = pool(
        tmp_path, 'soundfonts=["TimGM6mb", "FluidR3_GM", "Merlin"]', "training.batch=16", "data.performances=12"
    )
    numbers = [[0, 1, 4, 5, 8, 9], [2, 6, 10], [3, 7, 11]]  # the first soundfont counts twice
    assert made.items == [[(label, n) for n in numbers[font]] for font in range(3) for label in (0, 1)]
    for voice, items in enumerate(made.items):
        for label, number in items:
            _, (font, instrument), heard = made._players(label, number)
            assert made._label(font, instrument) == voice and heard == (font, instrument)


def test_shares_of_third_instruments_and_of_other_soundfonts(tmp_path):
    made = pool(
        tmp_path,
        'soundfonts=["TimGM6mb", "FluidR3_GM", "Merlin"]',
        "training.batch=16",
        "training.domain_randomisation=true",
        "training.third_instruments=0.3",
    )
    known, third, elsewhere = 0, [], 0
    for number in range(1500):
        label = number % 2
        _, (font, instrument), (other, heard) = made._players(label, number)
        assert instrument == ("piano", "violin")[label]
        if heard in THIRD:
            assert made._label(other, heard) == NO_VOICE
            third.append((other, heard))
        else:
            assert heard == instrument and made._label(other, heard) == other * 2 + label
            known, elsewhere = known + 1, elsewhere + (other != font)
    assert len(third) / 1500 == pytest.approx(0.3, abs=0.04)
    # Half of the others are heard on a random soundfont, which is another one two times in three.
    assert elsewhere / known == pytest.approx(1 / 3, abs=0.05)
    assert {font for font, _ in third} == {0, 1, 2} and {name for _, name in third} == set(THIRD)


def test_third_instruments_are_known_and_leave_some_for_tests():
    programs = {program_of(name) for name in THIRD}
    kept = {program_of(name) for name in ("piano", "violin", "flute", "acoustic_guitar_nylon", "vibraphone")}
    assert len(programs) == len(THIRD) and not programs & kept and NO_VOICE == -100


@pytest.mark.parametrize(("share", "label"), [(1.0, NO_VOICE), (0.0, 1)])
def test_a_third_instrument_has_no_voice(tmp_path, share, label):
    cut = pool(tmp_path, f"training.third_instruments={share}").cut((1, 0), 0.5, 1000)
    assert (cut.label, cut.heard_label) == (1, label)


# --- Notes


def given_notes(monkeypatch, pitches, every=0.8):
    """Every performance has these notes, each half a second long."""
    onset = PREROLL + 0.2 + every * np.arange(len(pitches))
    played = Notes(onset, np.full(len(pitches), 0.5), np.array(pitches), np.full(len(pitches), 80))
    monkeypatch.setattr(pools.clips, "excerpt", lambda *_, **__: played)
    return onset - PREROLL


def first_heard(sound, onsets, every=0.8):
    """How late each note is heard, as :func:`onset_delay` measures it."""
    delays = []
    for onset in onsets:
        begin = round((onset - 0.05) * SAMPLE_RATE)
        window = sound[max(begin, 0) : round((onset + every - 0.1) * SAMPLE_RATE)]
        delays.append(onset_delay(window, SAMPLE_RATE, onset - max(begin, 0) / SAMPLE_RATE))
    return np.array(delays)


@pytest.mark.parametrize("font", ["TimGM6mb", "FluidR3_GM"])
@pytest.mark.parametrize("instrument", ["cello", "harpsichord", "oboe", "violin"])
def test_what_is_heard_begins_with_what_is_played(tmp_path, monkeypatch, font, instrument):
    """A piano and a violin, heard on others: moved by the difference of latencies, their notes begin together."""
    onsets = given_notes(monkeypatch, range(55, 91, 3))
    config = ("training.third_instruments=1", 'soundfonts=["TimGM6mb", "FluidR3_GM"]', "training.batch=12")
    other = ("TimGM6mb", "FluidR3_GM").index(font)
    for label, name in enumerate(("piano", "violin")):
        found = {}
        for aligned in ("true", "false"):
            made = pool(tmp_path / instrument / font, *config, f"model.align_onsets={aligned}")
            players = (0, name), (other, instrument)
            made._players = lambda *_, players=players: (np.random.default_rng(0), *players)
            made.cut((label, 0), 0.0, WHOLE)
            path = made.folder / name / "0000.flac"
            played, heard = (first_heard(channel, onsets) for channel in soundfile.read(path)[0].T)
            found[aligned] = np.median(heard) - np.median(played)
        difference = voice_latency(made.synths[other], instrument) - voice_latency(made.synths[0], name)
        assert found["true"] == pytest.approx(0, abs=0.004)
        assert found["false"] == pytest.approx(difference, abs=0.004)


def test_a_move_loses_nothing_and_adds_no_click(tmp_path, monkeypatch):
    """Heard earlier, silence comes in at the end; heard later, the start is what sounded in the preroll."""
    given_notes(monkeypatch, [60] * 12)
    for own, theirs in ((0.05, 0.0), (0.0, 0.05)):
        monkeypatch.setattr(pools.onsets, "voice_latency", lambda _, name, o=own, t=theirs: o if name == "piano" else t)
        made = pool(tmp_path / str(own), "model.align_onsets=true", "training.third_instruments=1")
        made._players = lambda *_: (np.random.default_rng(0), (0, "piano"), (0, "cello"))
        sounds = made._render(0, *made._players())
        plain = made.synths[0].render(pools.clips.excerpt(), "cello", SECONDS + PREROLL)
        late = round((own - theirs) * SAMPLE_RATE)
        expected = np.pad(plain, (0, SAMPLE_RATE))[SAMPLE_RATE - late :][:WHOLE]
        assert sounds.shape == (WHOLE, 2)
        assert sounds[:, 1] == pytest.approx(PEAK * expected / np.abs(expected).max(), abs=1e-6)


def test_a_third_of_a_chorales_performances_are_whole(tmp_path, monkeypatch):
    asked = []

    def note_down(piece, seconds, rng, extension, free):
        asked.append((piece.kind, extension, free, seconds))
        return Notes(*np.array([[1.0], [1.0], [60], [80]]).astype(int))

    monkeypatch.setattr(pools.clips, "excerpt", note_down)
    monkeypatch.setattr(synth.Synth, "render", lambda *_: np.zeros(12 * SAMPLE_RATE, np.float32))
    made = pool(tmp_path)
    for number in range(600):
        rng, *players = made._players(0, number)
        made._render(0, rng, *players)
    chorales = [extension for kind, extension, *_ in asked if kind == "chorale"]
    assert np.mean(chorales) == pytest.approx(EXTENSION, abs=0.08) and 250 < len(chorales) < 350
    assert not any(extension for kind, extension, *_ in asked if kind == "fiddle")
    assert {(free, seconds) for *_, free, seconds in asked} == {(False, SECONDS)}


def test_only_what_is_heard_has_vibrato(tmp_path, monkeypatch):
    """Half of the performances, with randomisation; what is played is in tune."""
    bent = []

    def note_down(self, notes, instrument, seconds, tuning):
        bent.append(np.ndim(tuning))
        return np.zeros(12 * SAMPLE_RATE, np.float32)

    monkeypatch.setattr(synth.Synth, "render", note_down)
    for assignments, expected in ((HEARD[:1], 0.5), (HEARD[1:], 0.0)):
        made, bent[:] = pool(tmp_path, *assignments), []
        for number in range(300):
            rng, *players = made._players(1, number)
            made._render(1, rng, *players)
        assert not any(bent[::2]) and np.mean(bent[1::2]) == pytest.approx(expected, abs=0.1)


def test_a_class_of_the_run_is_no_third_instrument(tmp_path):
    """Else a piece would be heard on one class and predicted on another: a pair."""
    made = pool(tmp_path, 'instruments=["church_organ", "42"]', "training.third_instruments=1", "data.performances=40")
    assert not {"church_organ", "cello"} & set(made.third) and len(made.third) == len(THIRD) - 2
    heard = {made._players(label, number)[2][1] for label in (0, 1) for number in range(40)}
    assert heard == set(made.third)
