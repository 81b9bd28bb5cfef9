"""Recordings to clips: the right samples from any file, honest counts of what is left out, splits without leaks."""

import dataclasses
import functools
import pathlib
from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib import audio
from ast_lib.data import recordings
from ast_lib.data.manifest import Clip, read_manifest
from ast_lib.data.recordings import Recording, Selection
from ast_lib.errors import AstError

RATE = 22050
REAL = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "bach-violin" / "audio"
MP3 = REAL / "john-garner" / "john-garner_bwv1002_mov6.mp3"
OPUS = REAL / "minji-kim" / "minji-kim_bwv1003_mov3.opus"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the part of the Bach Violin Dataset is not beside the repository")


def tone(seconds, frequency=440.0, rate=RATE, amplitude=0.2):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def write(path, signal, rate=RATE, subtype="FLOAT"):
    soundfile.write(path, signal, rate, subtype=subtype)
    return path


def recording(path, name=None, **changes):
    name = name or pathlib.Path(path).stem
    return Recording(**{"id": name, "dataset": "d", "piece": name, "instrument": "violin", "path": path,
                        "licence": "PD", **changes})  # fmt: skip


def clip(name, instrument, piece=None, split="", path="a.wav", seconds=10.0):
    return Clip(name, "d", piece or name, instrument, str(path), 0.0, seconds, RATE, "PD", split, 0.1)


@functools.cache
def whole_recording(path):
    return audio.load(path)


def rms(signal):
    return np.sqrt(np.mean(np.square(signal, dtype=np.float64), axis=-1))


# --- reading a stretch


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_stretch_is_what_the_whole_file_has_there(tmp_path, rate, channels):
    sweep = np.sin(2 * np.pi * 100 * np.arange(3 * rate) ** 2 / rate**2 / 2).astype(np.float32) * 0.5
    path = write(tmp_path / "a.wav", np.repeat(sweep[:, None], channels, axis=1), rate)
    whole, part = audio.load(path), recordings.read_segment(path, 1.0, 1.5)
    assert part.shape == (round(1.5 * RATE),) and part.dtype == np.float32
    # The resampler's filter sees nothing beyond the cut, so the very ends differ; each has its own mean taken out.
    expected = whole[RATE : RATE + len(part)]
    assert part[200:-200] == pytest.approx((expected - expected.mean())[200:-200], abs=1e-4)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "DOUBLE"])
def test_every_bit_depth_is_read(tmp_path, subtype):
    path = write(tmp_path / "a.wav", tone(1), subtype=subtype)
    tolerance = 2**-6 if subtype == "PCM_U8" else 2**-14
    assert recordings.read_segment(path, 0.25, 0.5) == pytest.approx(tone(1)[5512 : 5512 + 11025], abs=tolerance)


@real
@pytest.mark.parametrize("path", [MP3, OPUS], ids=["mp3", "opus"])
@pytest.mark.parametrize("start", [0.0, 37.3, 99.5])
def test_seeking_in_real_recordings_is_exact_to_the_sample(path, start):
    whole, part = whole_recording(path), recordings.read_segment(path, start, 3.0)
    first = round(start * RATE)
    assert part[200:-200] == pytest.approx(whole[first + 200 : first + len(part) - 200], abs=1e-4)


@real
@pytest.mark.parametrize(("path", "rate"), [(MP3, 44100), (OPUS, 48000)], ids=["mp3", "opus"])
def test_length_of_real_recordings(path, rate):
    with audio.open_sound(path) as sound:
        assert sound.rate == rate and sound.seconds == pytest.approx(len(whole_recording(path)) / RATE, abs=1e-3)


def test_a_stretch_beyond_the_end_is_an_error(tmp_path):
    path = write(tmp_path / "a.wav", tone(2))
    for start, found in ((1.5, "0.50"), (5.0, "0.00")):
        with pytest.raises(AstError, match=f"a.wav: found {found} s from {start:g} s on, accepted are 1 s"):
            recordings.read_segment(path, start, 1.0)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("not audio\n" * 300)
    (tmp_path / "headless.raw").write_bytes(b"\0" * 999)
    write(tmp_path / "none.wav", np.zeros((0,), np.float32))
    write(tmp_path / "nan.wav", np.where(np.arange(RATE) == 5, np.nan, tone(1)))
    write(tmp_path / "silent.wav", np.zeros(RATE, np.float32))
    write(tmp_path / "slow.wav", tone(1), 1500)
    cases = {
        "slow.wav": "found a rate of 1500 Hz, accepted is 2000 Hz or more",
        "empty.wav": "not readable as audio",
        "text.mp3": "not readable as audio",
        "headless.raw": "not readable as audio",
        "missing.wav": "no such file",
        "none.wav": "found 0.00 s",
        "nan.wav": "found 1 samples that are NaN or infinite",
        "silent.wav": "found silence",
    }
    for name, message in cases.items():
        with pytest.raises(AstError, match=f"{name}: {message}"):
            recordings.read_segment(tmp_path / name, 0.0, 0.5)
    with pytest.raises(AstError, match="none.wav: found 0 samples"):
        recordings.cut([recording(tmp_path / "none.wav")])
    assert not recordings.read_segment(tmp_path / "silent.wav", 0.0, 0.5, allow_silence=True).any()


@real
@pytest.mark.parametrize("source", [MP3, OPUS], ids=["mp3", "opus"])
def test_a_recording_cut_off_in_the_middle_is_named(tmp_path, source):
    path = tmp_path / f"cut{source.suffix}"
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 3])
    with pytest.warns(audio.AudioWarning, match=rf"cut{source.suffix}: .*the mark of its end is missing|.*incomplete"):
        with pytest.raises(AstError, match=r"1 of 1 are unreadable \(.*cut"):
            recordings.cut([recording(path, end=100.0)])


def test_a_flac_file_cut_off_in_the_middle_is_named_and_what_it_has_is_used(tmp_path):
    path = tmp_path / "a.flac"
    signal = np.random.default_rng(0).uniform(-0.3, 0.3, 80 * RATE)
    soundfile.write(path, signal, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(audio.AudioWarning, match=r"a.flac: it is incomplete: found 39\.\d\d s of 80\.00 s announced"):
        found = recordings.cut([recording(path)]).items
    assert [clip.start for clip in found] == pytest.approx([15.0], abs=0.1)
    first = round(found[0].start * RATE)
    assert recordings.load_clip(found[0])[500:1000] / 0.07 == pytest.approx(
        signal[first + 500 : first + 1000] / signal.std(), abs=0.05
    )


@pytest.mark.parametrize("name", ["stream.flac", "chain.ogg", "two.mp3", "plain.mp3"])
def test_stretches_of_files_whose_headers_do_not_say_their_length(tmp_path, name):
    """A header gives half of the length or none: a stretch of the second half is there all the same."""
    signal = np.sin(2 * np.pi * 300 * np.arange(4 * 44100) ** 2 / 44100**2 / 4).astype(np.float32) * 0.3
    if name == "stream.flac":
        soundfile.write(tmp_path / name, signal, 44100)
        data = bytearray((tmp_path / name).read_bytes())
        data[21] &= 0xF0  # the number of samples, and the checksum of all of them
        data[22:42] = bytes(20)
        (tmp_path / name).write_bytes(data)
    else:
        halves = [signal] if name == "plain.mp3" else np.split(signal, 2)
        for number, half in enumerate(halves):
            soundfile.write(tmp_path / f"{number}.{name[-3:]}", half, 44100)
        data = b"".join((tmp_path / f"{number}.{name[-3:]}").read_bytes() for number in range(len(halves)))
        if name == "plain.mp3":
            data = data[data.index(data[:2], 4) :]  # without the first frame, which counts the others
        (tmp_path / name).write_bytes(data)
    with audio.open_sound(tmp_path / name) as sound:
        # A second MP3 in a file keeps what its encoder padded.
        assert sound.rate == 44100 and sound.seconds == pytest.approx(4, abs=0.08)
    whole, part = audio.load(tmp_path / name), recordings.read_segment(tmp_path / name, 2.5, 1.0)
    expected = whole[round(2.5 * RATE) : round(3.5 * RATE)]
    assert part[200:-200] == pytest.approx((expected - expected.mean())[200:-200], abs=1e-3)
    with pytest.raises(AstError, match=f"{name}: found 0.* s from 3.5 s on, accepted are 1 s"):
        recordings.read_segment(tmp_path / name, 3.5, 1.0)
    listed = dataclasses.replace(clip("c", "violin", path=tmp_path / name, seconds=1.0), start=2.9)
    recordings.check_files([listed])
    with pytest.raises(
        AstError, match=rf"1 of 1 files cannot be used \(.*{name}: found 0.* s from 4 s on, accepted are 1"
    ):
        recordings.check_files([dataclasses.replace(listed, start=4.0)])


def test_a_constant_is_taken_out_before_the_level_is_set(tmp_path):
    path = write(tmp_path / "a.wav", tone(12) + 0.5)
    (found,) = recordings.cut([recording(path)]).items
    assert found.rms == pytest.approx(0.2 / np.sqrt(2), rel=1e-3)
    assert rms(recordings.load_clip(found)) == pytest.approx(0.07, rel=1e-3)


# --- silence


def test_longest_silence():
    sound, quiet = tone(1), tone(1, amplitude=0.2 * 10 ** (-50 / 20))
    assert recordings.longest_silence(sound) == 0
    assert recordings.longest_silence(np.zeros(3 * RATE, np.float32)) == 3
    frames = 2 * 2048 / RATE  # one at each end may hold some of the sound beside it
    for parts, seconds in (
        ([sound, np.zeros(2 * RATE)], 2),
        ([np.zeros(2 * RATE), sound], 2),
        ([sound, np.zeros(RATE), sound, quiet, quiet, quiet, sound], 3),
    ):
        assert recordings.longest_silence(np.concatenate(parts)) == pytest.approx(seconds, abs=frames)
    # 50 dB below is silence, but not if only 60 dB below counts; loudness of the whole does not matter.
    signal = np.concatenate([sound, quiet])
    assert recordings.longest_silence(signal, below=60) == 0
    assert recordings.longest_silence(signal / 50) == recordings.longest_silence(signal) > 0.9


# --- cutting


@pytest.mark.parametrize(
    ("duration", "most", "starts"),
    [
        (9.9, 3, []),
        (10, 3, [0]),
        (39.9, 3, [14.95]),
        (40, 3, [5, 25]),
        (69, 3, [12.25, 46.75]),
        (90, 3, [10, 40, 70]),
        (600, 3, [95, 295, 495]),
        (600, 2, [145, 445]),
        (600, 1, [295]),
    ],
)
def test_segments_are_the_middles_of_equal_parts(duration, most, starts):
    assert recordings.segment_starts(duration, 10, most) == pytest.approx(starts)


@given(duration=st.floats(1, 1e4), seconds=st.floats(0.1, 20), most=st.integers(1, 3))
def test_segments_lie_inside_and_do_not_overlap(duration, seconds, most):
    starts = recordings.segment_starts(duration, seconds, most)
    assert len(starts) <= most and (duration < seconds) == (not starts)
    edges = np.array([[start, start + seconds] for start in starts]).ravel()
    assert np.all(np.diff(edges) > -1e-6)
    assert not starts or (edges[0] > -1e-6 and edges[-1] < duration + 1e-6)


def test_clips_tell_where_they_are_and_how_loud_they_were(tmp_path):
    path = write(tmp_path / "a.wav", tone(100, rate=8000), 8000)
    [first, second] = recordings.cut([recording(path, "x", start=20.0, end=80.0, split="test")]).items
    assert first == Clip("x#1", "d", "x", "violin", str(path), 30.0, 10.0, 8000, "PD", "test", first.rms)
    assert (second.id, second.start) == ("x#2", 60.0)
    assert first.rms == pytest.approx(0.2 / np.sqrt(2), rel=1e-3)
    assert rms(recordings.load_clip(first)) == pytest.approx(0.07, rel=1e-5)
    assert recordings.load_clip(first).shape == (10 * RATE,)


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    loud = write(tmp_path / "loud.wav", tone(12))
    pause = write(tmp_path / "pause.wav", np.concatenate([tone(4), np.zeros(4 * RATE), tone(4)]).astype(np.float32))
    dead = write(tmp_path / "dead.wav", np.zeros(12 * RATE, np.float32))
    short = write(tmp_path / "short.wav", tone(9))
    found = recordings.cut([recording(path) for path in (loud, pause, dead, short)])
    assert [c.id for c in found.items] == ["loud#1"]
    assert found.left_out == {"shorter than a clip": ["short"], "long silence": ["pause#1", "dead#1"]}
    assert str(found) == ("1 kept; 2 left out: long silence (pause#1, dead#1); 1 left out: shorter than a clip (short)")
    assert len(recordings.cut([recording(pause)], max_silence=5).items) == 1


def test_a_long_list_is_counted_and_begun():
    text = str(Selection([], {"missing": [f"n{i}" for i in range(12)]}))
    assert text == "0 kept; 12 left out: missing (n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, and 2 more)"


def test_unreadable_files_are_named_and_counted_and_skipped_only_when_asked(tmp_path):
    good = write(tmp_path / "good.wav", tone(12))
    (tmp_path / "zero.mp3").write_bytes(b"")
    (tmp_path / "junk.opus").write_bytes(bytes(range(256)) * 40)
    write(tmp_path / "nan.wav", np.full(12 * RATE, np.nan))
    listed = [recording(path) for path in (good, tmp_path / "zero.mp3", tmp_path / "junk.opus", tmp_path / "nan.wav")]
    with pytest.raises(AstError) as error:
        recordings.cut(listed)
    assert str(error.value).startswith("recordings: 3 of 4 are unreadable (")
    assert all(name in str(error.value) for name in ("zero.mp3", "junk.opus", "nan.wav"))
    assert "good.wav" not in str(error.value) and "skip_unreadable=True" in str(error.value)
    found = recordings.cut(listed, skip_unreadable=True)
    assert [c.id for c in found.items] == ["good#1"]
    assert found.left_out == {"unreadable": ["zero", "junk", "nan"]}


def test_a_piano_piece_gives_one_clip_and_a_violin_file_up_to_three(tmp_path):
    path = write(tmp_path / "a.wav", tone(90, rate=8000), 8000)
    listed = [
        recording(path, f"{instrument}{i}", piece="p", instrument=instrument)
        for instrument in ("piano", "violin")
        for i in range(3)
    ]
    found = recordings.cut(listed)
    assert Counter(c.instrument for c in found.items) == {"piano": 1, "violin": 9}
    assert found.items[0].id == "piano1#1" and found.items[0].start == 40
    assert found.left_out == {"not the piece's one recording": ["piano0", "piano2"]}


@pytest.mark.parametrize("seconds", [0, float("nan")])
def test_cut_refuses_what_makes_no_clip(seconds):
    with pytest.raises(AstError, match=f"cut: found {seconds} seconds, accepted are more than 0"):
        recordings.cut([], seconds)


# --- splits


def splits_of(clips):
    found = {}
    for made in clips:
        found.setdefault((made.instrument, made.piece), set()).add(made.split)
    return found


@settings(deadline=None, max_examples=50)
@given(
    pianos=st.integers(3, 40),
    violins=st.integers(3, 40),
    shared=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_splits_are_by_piece_and_80_10_10(pianos, violins, shared, seed):
    pieces = [("piano", f"p{i}") for i in range(pianos)] + [("violin", f"v{i}") for i in range(violins)]
    pieces += [(instrument, f"both{i}") for i in range(shared) for instrument in ("piano", "violin")]
    clips = [clip(f"{i}-{p}-{n}", i, p) for i, p in pieces for n in range(1 + len(p) % 3)]
    dealt = recordings.assign_splits(clips, seed)
    assert [dataclasses.replace(c, split="") for c in dealt] == clips
    assert dealt == recordings.assign_splits(clips, seed)
    found = splits_of(dealt)
    assert all(len(splits) == 1 for splits in found.values())
    for i in range(shared):
        assert found["piano", f"both{i}"] == found["violin", f"both{i}"]
    for instrument, count in (("piano", pianos + shared), ("violin", violins + shared)):
        sizes = Counter(next(iter(s)) for (name, _), s in found.items() if name == instrument)
        held_out = max(1, round(count / 10))
        # A piece that both play may fill one split of the second instrument beyond its share.
        assert all(held_out <= sizes[split] <= held_out + shared for split in ("validation", "test"))
        assert sizes["train"] >= 1


def test_a_seed_decides_the_split():
    clips = [clip(str(i), "piano") for i in range(30)]
    deals = [[c.split for c in recordings.assign_splits(clips, seed)] for seed in (0, 1)]
    assert deals[0] != deals[1] and Counter(deals[0]) == {"train": 24, "validation": 3, "test": 3}


def test_official_splits_are_kept():
    clips = [clip(f"p{i}", "piano", split="test" if i < 5 else "train" if i < 9 else "validation") for i in range(10)]
    dealt = recordings.assign_splits([*clips, *(clip(f"v{i}", "violin") for i in range(10))], seed=3)
    assert dealt[:10] == clips
    assert Counter(c.split for c in dealt[10:]) == {"train": 8, "validation": 1, "test": 1}


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_pieces_are_refused_with_the_class(count):
    clips = [clip(f"p{i}", "piano") for i in range(9)]
    clips += [clip(f"v{i}-{n}", "violin", f"v{i}") for i in range(count) for n in range(20)]
    with pytest.raises(AstError, match=f"instrument violin: found {count} pieces, none for .*train"):
        recordings.assign_splits(clips, 0)


# --- the recipe as one call


def test_the_papers_recipe_in_one_call(tmp_path):
    """10 s clips, one of a piano piece, up to three of a violin file, none with long silence, 80/10/10 by piece."""
    long = write(tmp_path / "long.wav", tone(75, rate=8000), 8000)
    pause = write(tmp_path / "pause.wav", np.concatenate([tone(4), np.zeros(4 * RATE), tone(4)]).astype(np.float32))
    listed = [recording(long, f"v{i}", piece=f"v{i}") for i in range(10)] + [recording(pause)]
    listed += [recording(long, f"p{i}-{n}", piece=f"p{i}", instrument="piano") for i in range(10) for n in range(2)]
    found = recordings.make_manifest(tmp_path / "m.jsonl", listed)
    assert recordings.PAPER_CLIPS == 768 and found.items == read_manifest(tmp_path / "m.jsonl")
    assert Counter((c.instrument, c.split) for c in found.items) == {
        ("violin", "train"): 24, ("violin", "validation"): 3, ("violin", "test"): 3,
        ("piano", "train"): 8, ("piano", "validation"): 1, ("piano", "test"): 1,
    }  # fmt: skip
    assert {c.seconds for c in found.items} == {10.0}
    assert found.left_out["long silence"] == ["pause#1"] and len(found.left_out["not the piece's one recording"]) == 10


def test_a_manifest_has_at_most_so_many_clips_of_an_instrument(tmp_path):
    path = write(tmp_path / "a.wav", tone(75, rate=8000), 8000)
    listed = [recording(path, f"v{i}") for i in range(12)]
    found, again, other = (
        recordings.make_manifest(tmp_path / "m.jsonl", listed, most_clips=20, seed=seed) for seed in (1, 1, 2)
    )
    assert len(found.items) == 20 and len(found.left_out["beyond 20 of an instrument"]) == 16
    assert found == again and [c.id for c in found.items] != [c.id for c in other.items]
    everything = {c.id for c in found.items} | set(found.left_out["beyond 20 of an instrument"])
    assert everything == {f"v{i}#{n}" for i in range(12) for n in (1, 2, 3)}


def test_nothing_is_written_when_a_step_fails(tmp_path):
    good = write(tmp_path / "good.wav", tone(12))
    (tmp_path / "zero.wav").write_bytes(b"")
    listed = [recording(good, f"g{i}") for i in range(3)] + [recording(tmp_path / "zero.wav")]
    with pytest.raises(AstError, match=r"1 of 4 are unreadable \(.*zero.wav"):
        recordings.make_manifest(tmp_path / "m.jsonl", listed)
    with pytest.raises(AstError, match="instrument violin: found 2 pieces, none for"):
        recordings.make_manifest(tmp_path / "m.jsonl", listed[:2])
    assert not (tmp_path / "m.jsonl").exists()
    found = recordings.make_manifest(tmp_path / "m.jsonl", listed, skip_unreadable=True)
    assert len(found.items) == 3 and found.left_out == {"unreadable": ["zero"]}
