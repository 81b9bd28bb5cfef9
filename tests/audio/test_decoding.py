"""What is really in a file: streams, chains, files put together, in mid-stream, damaged, cut; and foreign formats."""

import os
import re
import shutil
import struct
import subprocess
import threading
import warnings

import numpy as np
import pytest
import soundfile

from ast_lib import audio
from ast_lib.audio import decoding
from ast_lib.audio.containers import frame_length, mpeg_parts
from ast_lib.errors import AstError

RATE = 44100
ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg (apt-get install ffmpeg)")


def sweep(rate=RATE, seconds=4.0):
    """From 200 to 1,800 Hz: no tenth of a second is like another, so that one that is missing shows."""
    time = np.arange(round(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 * time + 800 * time**2 / seconds))).astype(np.float32)


def rubbish(size):
    return np.random.default_rng(size).integers(1, 255, size, dtype=np.uint8).tobytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """``whole["mp3"]`` and so on: bytes of complete files of the sweep, 4 s, made by real encoders."""
    folder, found = tmp_path_factory.mktemp("whole"), {}
    for name in ("wav", "flac", "ogg", "aiff", "au", "caf", "w64"):
        soundfile.write(folder / f"a.{name}", sweep(), RATE)
    soundfile.write(folder / "a.opus", sweep(48000), 48000, format="OGG", subtype="OPUS")
    with soundfile.SoundFile(
        folder / "a.mp3", "w", RATE, 1, "MPEG_LAYER_III", None, "MP3", bitrate_mode="CONSTANT"
    ) as f:
        f.write(sweep())
    # The first frames take many bits, the others few: so the first one's rate says little about the length.
    loud = sweep()
    loud[: RATE // 4] = np.random.default_rng(0).uniform(-0.9, 0.9, RATE // 4)
    with soundfile.SoundFile(
        folder / "a.vbr", "w", RATE, 1, "MPEG_LAYER_III", None, "MP3", bitrate_mode="VARIABLE"
    ) as f:
        f.write(loud)
    for path in folder.iterdir():
        found[path.suffix[1:]] = path.read_bytes()
    # Ogg needs noise to have more than one page.
    noise = sweep() + np.random.default_rng(1).normal(0, 0.1, 4 * RATE).astype(np.float32)
    for name, rate, subtype in (("ogg", RATE, "VORBIS"), ("opus", 48000, "OPUS")):
        soundfile.write(folder / f"noisy.{name}", noise, rate, format="OGG", subtype=subtype)
        found[f"noisy.{name}"] = (folder / f"noisy.{name}").read_bytes()
    return found


def without_count(mp3):
    """Without the first frame, in which LAME counts the others."""
    assert b"Xing" in mp3[:60] or b"Info" in mp3[:60]
    return mp3[frame_length(mp3[:4]) :]


def streamed(flac):
    """As an encoder writes to a pipe: it can not return to fill in the number of samples and their checksum."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(20) + flac[42:]


def data_size(data, size, mark=b"data", form="<I"):
    """With another size of the chunk that holds the sound."""
    place = data.index(mark) + 4
    return data[:place] + struct.pack(form, size) + data[place + struct.calcsize(form) :]


def read(tmp_path, name, data, capfd):
    """Audio of a file, and what was said about it, without the path; the decoders themselves say nothing."""
    (tmp_path / name).write_bytes(data)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        signal = audio.load(tmp_path / name, RATE)
    assert capfd.readouterr() == ("", "")
    assert all(warning.category is audio.AudioWarning for warning in said)
    return signal, [str(warning.message).removeprefix(f"{tmp_path / name}: ") for warning in said]


def holds(signal, expected, least=0.9):
    """Whether every tenth of a second of ``expected`` is in ``signal``, where an encoder may have shifted all of it."""
    size = 2 ** int(np.ceil(np.log2(len(signal) + len(expected))))
    match = np.fft.irfft(np.fft.rfft(signal, size) * np.conj(np.fft.rfft(expected, size)), size)
    shift = int(np.argmax(match))
    moved = np.roll(np.pad(signal, (0, size - len(signal))), -shift)[: len(expected)]
    frames = [x[: len(x) // 4410 * 4410].reshape(-1, 4410) for x in (moved, expected)]
    inner = np.sum(frames[0] * frames[1], axis=1) / np.sqrt(
        np.sum(frames[0] ** 2, axis=1) * np.sum(frames[1] ** 2, axis=1) + 1e-9
    )
    return inner[1:-1].min() > least


# --- nothing is lost


@pytest.mark.parametrize(
    ("name", "make", "seconds", "said"),
    [
        ("stream.flac", lambda w: streamed(w["flac"]), 4, []),
        ("tagged.flac", lambda w: b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + w["flac"], 4, []),
        ("two.flac", lambda w: w["flac"] * 2, 8, []),
        ("no_count.mp3", lambda w: without_count(w["mp3"]), 4, []),
        ("no_count_vbr.mp3", lambda w: without_count(w["vbr"]), 4, []),
        ("wrong_count.mp3", lambda w: w["mp3"] + without_count(w["mp3"]), 8, []),
        ("two.mp3", lambda w: w["mp3"] * 2, 8, []),
        ("tags.mp3", lambda w: b"ID3\4\0\0\0\0\x01\0" + bytes(128) + w["mp3"] + b"TAG" + bytes(125), 4, []),
        ("two_tagged.mp3", lambda w: (b"ID3\4\0\0\0\0\x01\0" + rubbish(128) + w["mp3"]) * 2, 8, []),
        ("zeros.mp3", lambda w: bytes(3000) + w["mp3"] + bytes(3000), 4, []),
        ("chain.ogg", lambda w: w["ogg"] * 3, 12, []),
        ("chain.opus", lambda w: w["opus"] * 2, 8, []),
        ("mixed.ogg", lambda w: w["ogg"] + w["opus"], 8, []),
        ("two.wav", lambda w: w["wav"] * 2, 8, []),
        ("pipe_ffmpeg.wav", lambda w: data_size(w["wav"], 2**32 - 1), 4, []),
        ("pipe_sox.wav", lambda w: data_size(w["wav"], 2**31 - 37), 4, []),
        ("odd.wav", lambda w: w["wav"][:-1], 4, []),
        ("chunks.wav", lambda w: w["wav"] + b"LIST\4\0\0\0INFOid3 \2\0\0\0ab", 4, []),
        ("padded.wav", lambda w: w["wav"] + bytes(4000), 4, []),
        ("pipe.au", lambda w: w["au"][:8] + b"\xff" * 4 + w["au"][12:], 4, []),
        ("pipe.aiff", lambda w: data_size(w["aiff"], 0, b"SSND", ">I"), 4, []),
        ("pipe.caf", lambda w: data_size(w["caf"], -1, form=">q"), 4, []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_all_of_it_is_read_without_a_word(whole, tmp_path, capfd, name, make, seconds, said):
    signal, found = read(tmp_path, name, make(whole), capfd)
    assert found == said
    assert len(signal) / RATE == pytest.approx(seconds, abs=0.06 * seconds / 4)
    expected = sweep()
    if name == "no_count_vbr.mp3":
        # The trap: the length that the first frame suggests.
        assert soundfile.info(tmp_path / name).duration < 3
        expected[: RATE // 2], signal[: RATE // 2] = 0, 0
        assert holds(signal[RATE:], expected[RATE:])
    for start in range(0, seconds, 4):
        assert name == "no_count_vbr.mp3" or holds(signal[start * RATE : (start + 4) * RATE + 4000], expected)


@pytest.mark.parametrize(
    ("name", "make", "seconds", "said"),
    [
        (
            "zero.wav",
            lambda w: data_size(w["wav"], 0),
            4,
            "its header announces 0 bytes of sound, all 352,800 are read",
        ),
        (
            "few.wav",
            lambda w: data_size(w["wav"], 88200),
            4,
            "its header announces 88,200 bytes of sound, all 352,800 a",
        ),
        ("rubbish.mp3", lambda w: rubbish(3000) + w["mp3"], 4, "bytes 0 to 3,000 are no sound and left out"),
        ("many.wav", lambda w: data_size(w["wav"], 705600), 4, "it ends early: found 4.00 s of 8.00 s announced"),
        ("tail.mp3", lambda w: w["mp3"] + rubbish(5000), 4, r"bytes [\d,]* to [\d,]* are no sound and left out"),
        ("page.ogg", lambda w: w["ogg"] + rubbish(500) + w["ogg"], 8, r"bytes [\d,]* to [\d,]* are no sound and left"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_all_of_it_is_read_with_a_word_on_what_was_odd(whole, tmp_path, capfd, name, make, seconds, said):
    signal, found = read(tmp_path, name, make(whole), capfd)
    assert len(found) == 1 and re.match(said, found[0])
    assert len(signal) / RATE == pytest.approx(seconds, abs=0.06 * seconds / 4)
    assert all(holds(signal[start * RATE : (start + 4) * RATE + 4000], sweep()) for start in range(0, seconds, 4))


# --- what is there, and a word on what is not


def half(data):
    return data[: len(data) // 2]


EARLY = r"it ends early: found {} s of 4\.00 s announced$"
UNENDED = "a sound in it ends early: the mark of its end is missing$"


@pytest.mark.parametrize(
    ("name", "make", "seconds", "said"),
    [
        ("cut.wav", lambda w: half(w["wav"]), (1.99, 2), [EARLY.format(r"2\.00")]),
        ("cut.aiff", lambda w: half(w["aiff"]), (1.99, 2), [EARLY.format(r"2\.00")]),
        ("cut.au", lambda w: half(w["au"]), (1.99, 2), [EARLY.format(r"2\.00")]),
        ("cut.w64", lambda w: half(w["w64"]), (1.99, 2), [EARLY.format(r"2\.00")]),
        ("cut.caf", lambda w: half(w["caf"]), (1.9, 2), [EARLY.format(r"1\.\d\d")]),
        ("cut.flac", lambda w: half(w["flac"]), (1.5, 2.5), [EARLY.format(r"\d\.\d\d")]),
        ("cut_stream.flac", lambda w: half(streamed(w["flac"])), (1.5, 2.5), [r"it ends early: found \d\.\d\d s$"]),
        ("cut.mp3", lambda w: half(w["mp3"]), (1.8, 2.1), [EARLY.format(r"[12]\.\d\d")]),
        ("cut_vbr.mp3", lambda w: half(w["vbr"]), (1, 3), [EARLY.format(r"\d\.\d\d")]),
        ("cut.ogg", lambda w: half(w["noisy.ogg"]), (1, 2.5), [UNENDED]),
        ("cut.opus", lambda w: half(w["noisy.opus"]), (0.9, 2.5), [UNENDED]),
        ("cut_chain.ogg", lambda w: half(w["noisy.ogg"]) + w["noisy.ogg"], (5, 6.5), [UNENDED]),
        ("mid_stream.mp3", lambda w: w["mp3"][7777:], (1.8, 2.4), [r"bytes 0 to \d+ are no sound and left out$"]),
        ("hole.flac", lambda w: half(w["flac"]) + rubbish(3000) + w["flac"][len(w["flac"]) // 2 + 3000 :], (1.5, 4),
         [r"it is damaged at [12]\.\d\d s: found [123]\.\d\d s of 4\.00 s announced$"]),
        ("hole_and_end.flac", lambda w: half(w["flac"]) + rubbish(30000), (1.5, 2.5),
         [r"it is damaged at [12]\.\d\d s: found [12]\.\d\d s of 4\.00 s announced$"]),
        ("hole.mp3", lambda w: half(w["mp3"]) + rubbish(4000) + w["mp3"][len(w["mp3"]) // 2 :], (3.8, 4.1),
         [r"bytes [\d,]+ to [\d,]+ are no sound and left out$", r"sound 1 of 2 in it ends early: found .* announced$"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_there_is_read_and_what_is_not_is_said(whole, tmp_path, capfd, name, make, seconds, said):
    signal, found = read(tmp_path, name, make(whole), capfd)
    assert len(found) == len(said) and all(re.match(*pair) for pair in zip(said, found, strict=True)), found
    assert seconds[0] <= len(signal) / RATE <= seconds[1]
    if name.startswith("cut.") and name not in ("cut.ogg", "cut.opus"):
        assert holds(signal, sweep()[: len(signal) - 3000])


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "w64", "caf"])
def test_a_file_cut_anywhere_gives_audio_or_one_line(whole, tmp_path, capfd, extension):
    data = whole.get(f"noisy.{extension}", whole[extension])
    lengths = []
    for share in (0.001, 0.01, 0.2, 0.4, 0.6, 0.9, 0.99):
        try:
            signal, found = read(tmp_path, f"a.{extension}", data[: int(share * len(data))], capfd)
            assert found
            lengths.append(len(signal) / RATE)
        except AstError as error:
            assert str(error).startswith(f"{tmp_path / 'a'}.{extension}: ") and "\n" not in str(error)
            lengths.append(0.0)
    assert lengths == sorted(lengths) and lengths[-1] > 3


def test_random_bytes_are_no_mpeg_audio(tmp_path):
    for size in (10, 3000, 300_000):
        (tmp_path / "a").write_bytes(rubbish(size))
        with open(tmp_path / "a", "rb") as file:
            assert mpeg_parts(file, size) == ([], [])


@pytest.mark.parametrize(
    ("header", "length"),
    [("fffb9064", 417), ("fffb9264", 418), ("fff38064", 208), ("fffd9064", 522), ("ffff9064", 312), ("ffe38064", 417),
     ("fffbf064", 0), ("fffb0064", 0), ("fffb9c64", 0), ("ffeb9064", 0), ("fff19064", 0), ("7ffb9064", 0), ("fffb", 0)],
)  # fmt: skip
def test_the_length_of_a_frame(header, length):
    """By the tables of ISO 11172-3 and 13818-3: 144 * 128,000 / 44,100 = 417 bytes, and so on."""
    assert frame_length(bytes.fromhex(header)) == length


# --- every format that libsndfile writes, pipes, devices


def written_formats():
    """Container, coding, rate and channels of everything that libsndfile can write, with a header to find it by."""
    for container in sorted(set(soundfile.available_formats()) - {"RAW", "SD2"}):
        for coding in sorted(soundfile.available_subtypes(container)):
            for rate, channels in ((48000, 2), (44100, 1), (8000, 1)):
                if soundfile.check_format(container, coding):
                    yield container, coding, rate, channels


def test_every_format_that_libsndfile_writes_is_read(tmp_path, capfd):
    """Block by block as at once, in whatever order a decoder's blocks and ours fall; nothing is said about any."""
    rng, tried = np.random.default_rng(0), set()
    for container, coding, rate, channels in written_formats():
        path = tmp_path / f"a.{container.lower()}"
        noise = sweep(rate, 3.3)[:, None] * rng.uniform(0.5, 1, channels) + rng.normal(
            0, 0.02, (round(3.3 * rate), channels)
        )
        try:
            soundfile.write(path, noise, rate, coding, format=container)
            expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
        except (soundfile.LibsndfileError, AssertionError):
            continue  # a coding that has not this rate or number of channels, or cannot be read back at all
        if len(expected) < len(noise) // 2 or (container, coding) in tried:
            continue
        tried.add((container, coding))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with decoding.open_decoder(path) as decoder:
                frames = np.concatenate([block.frames for block in decoder])
            assert not decoder.notes, f"{container}, {coding}: {decoder.notes}"
            assert frames.shape == expected.shape, f"{container}, {coding}"
            assert np.abs(frames - expected).max() < 1e-6, f"{container}, {coding}"
    known = "WAV/ALAW WAV/GSM610 WAV/IMA_ADPCM WAVEX/DOUBLE RF64/PCM_24 W64/FLOAT AIFF/PCM_24 AU/ULAW CAF/ALAC_16 "
    known += "OGG/VORBIS OGG/OPUS MP3/MPEG_LAYER_III FLAC/PCM_S8"
    assert {tuple(pair.split("/")) for pair in known.split()} <= tried


def test_formats_that_only_their_names_tell(tmp_path):
    soundfile.write(tmp_path / "a.gsm", sweep(8000), 8000, "GSM610", format="RAW")
    with audio.open_sound(tmp_path / "a.gsm") as sound:
        assert (sound.rate, sound.seconds) == (8000, pytest.approx(4, abs=0.03))
    soundfile.write(tmp_path / "a.raw", sweep(), RATE, "PCM_16", format="RAW")
    with pytest.raises(AstError, match=r"a.raw: not readable as audio"):
        audio.load(tmp_path / "a.raw")


def test_a_part_that_nobody_reads_is_named_and_the_others_are_read(whole, tmp_path, capfd):
    strange = whole["ogg"].replace(b"vorbis", b"strang")
    signal, found = read(tmp_path, "chain.ogg", whole["ogg"] + strange + whole["ogg"], capfd)
    assert len(signal) / RATE == pytest.approx(8) and len(found) == 1
    assert found[0].startswith("sound 2 of 3 in it is not readable (")


def test_many_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.repeat(sweep()[:, None], 60, axis=1), RATE, subtype="FLOAT")
    with audio.open_sound(tmp_path / "a.wav") as sound:
        assert np.concatenate(list(sound.blocks(RATE))) == pytest.approx(sweep() - sweep().mean(), abs=1e-6)


def test_opus_in_blocks_is_opus_at_once(whole, tmp_path):
    path = tmp_path / "a.opus"
    soundfile.write(
        path, np.random.default_rng(0).uniform(-0.3, 0.3, (48000 * 9, 2)), 48000, format="OGG", subtype="OPUS"
    )
    with decoding.open_decoder(path) as decoder:
        frames = np.concatenate([block.frames for block in decoder])
    assert frames == pytest.approx(soundfile.read(path, always_2d=True)[0], abs=1e-6)


def test_a_pipe_is_read(whole, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(whole["mp3"]))
    writer.start()
    with audio.open_sound(tmp_path / "pipe") as sound:
        assert sound.seconds == pytest.approx(4)
        assert holds(np.concatenate(list(sound.blocks(RATE))), sweep())
    writer.join()


def test_devices_are_refused(tmp_path):
    for name in ("/dev/null", "/dev/zero"):
        with pytest.raises(AstError, match=f"^{name}: found a device, accepted is an audio file or a pipe$"):
            audio.load(name)


def test_names_that_cannot_be_files(tmp_path):
    with pytest.raises(AstError, match=r"a: not readable \(File name too long\)$"):
        audio.load(tmp_path / ("a" * 300))
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(AstError, match=r"loop.wav: not readable \(Too many levels of symbolic links\)$"):
        audio.load(tmp_path / "loop.wav")
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    with pytest.raises(AstError, match=r"gone.wav: no such file$"):
        audio.load(tmp_path / "gone.wav")


def test_names_in_any_bytes(whole, tmp_path):
    for name in (b"\xff\xfe.wav", "ü 🎻\n'\".wav".encode(), b"-dash.wav"):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(whole["wav"])
        assert len(audio.load(os.fsdecode(path), RATE)) == 4 * RATE
        assert os.path.samefile(audio.save(os.fsdecode(path), sweep(), RATE), path)


def test_a_reading_error_is_one_line(whole, tmp_path, monkeypatch):
    class Failing:
        def __init__(self, file):
            self._file = file

        def seek(self, *place):
            return self._file.seek(*place)

        def read(self, size):
            if self._file.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return self._file.read(size)

    (tmp_path / "a.wav").write_bytes(whole["wav"])
    original = decoding.VirtualFile.__init__
    monkeypatch.setattr(decoding.VirtualFile, "__init__", lambda self, file, part: original(self, Failing(file), part))
    with pytest.raises(AstError, match=r"a.wav: not readable \(Input/output error\)$"):
        audio.load(tmp_path / "a.wav")


# --- what only ffmpeg reads


FOREIGN = {
    "aac.m4a": ["-c:a", "aac", "-b:a", "128k"],
    "alac.m4a": ["-c:a", "alac"],
    "a.aac": ["-c:a", "aac", "-b:a", "128k"],
    "a.wma": ["-c:a", "wmav2"],
    "opus.webm": ["-c:a", "libopus"],
    "vorbis.webm": ["-c:a", "libvorbis"],
    "a.mp4": ["-f", "lavfi", "-i", "color=c=red:s=64x64:d=4", "-c:a", "aac"],
    "a.mka": ["-c:a", "flac"],
    "a.ac3": ["-c:a", "ac3"],
}


def convert(whole, folder, name):
    (folder / "in.wav").write_bytes(whole["wav"])
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", folder / "in.wav", *FOREIGN[name], folder / name]
    subprocess.run(command, check=True)
    return (folder / name).read_bytes()


@ffmpeg
@pytest.mark.parametrize("extension", ["own", ".wav", ".mp3", ""])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_phones_and_browsers_write(whole, tmp_path, capfd, name, extension):
    data = convert(whole, tmp_path, name)
    signal, found = read(tmp_path, name if extension == "own" else f"other{extension}", data, capfd)
    assert found == [] and len(signal) / RATE == pytest.approx(4, abs=0.15)
    assert holds(signal, sweep())
    if name == "alac.m4a":
        assert signal == pytest.approx(sweep(), abs=1e-4)


@ffmpeg
def test_a_foreign_file_cut_in_the_middle(whole, tmp_path, capfd):
    signal, found = read(tmp_path, "cut.webm", half(convert(whole, tmp_path, "opus.webm")), capfd)
    assert 1 < len(signal) / RATE < 3 and len(found) == 1 and "ffmpeg: " in found[0]
    # An m4a file of ffmpeg's has its table of contents at the end.
    (tmp_path / "cut.m4a").write_bytes(half(convert(whole, tmp_path, "aac.m4a")))
    with pytest.raises(AstError, match=r"cut.m4a: not readable as audio \(.*ffmpeg: [^\n]+\); accepted are wav, .*$"):
        audio.load(tmp_path / "cut.m4a")


@ffmpeg
@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b"la la la\n" * 99), ("a.wav", b""), ("a.m3u8", b"#EXTM3U\nhttp://127.0.0.1:9/a\n")]
)
def test_what_nobody_reads(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        AstError, match=rf"{name}: not readable as audio \([^\n]+\); accepted are wav, flac, ogg, opus, "
    ):
        audio.load(tmp_path / name)


def test_without_ffmpeg_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + rubbish(5000))
    with pytest.raises(
        AstError, match=r"accepted are wav, flac, ogg, opus, mp3, and once ffmpeg is installed m4a, aac, "
    ):
        audio.load(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    ("script", "message"),
    [("sleep 30", "ffmpeg did not read it within 0.2 s"), ("echo disk full >&2; exit 1", r"\(.*; ffmpeg: disk full\)")],
)
def test_an_ffmpeg_that_hangs_or_fails(tmp_path, monkeypatch, script, message):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").write_text(
        f"#!/bin/sh\nexec {script}\n" if "sleep" in script else f"#!/bin/sh\n{script}\n"
    )
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(decoding, "FFMPEG_SECONDS", 0.2)
    (tmp_path / "a.m4a").write_bytes(rubbish(5000))
    with pytest.raises(AstError, match=f"a.m4a: .*{message}"):
        audio.load(tmp_path / "a.m4a")


def test_temporary_files_are_removed(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b"no sound" * 100))
    writer.start()
    with pytest.raises(AstError, match="pipe: not readable as audio"):
        audio.load(tmp_path / "pipe")
    writer.join()
    assert not list((tmp_path / "temporary").iterdir())
