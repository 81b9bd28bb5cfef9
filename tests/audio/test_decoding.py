"""What is really in a file: streams, chains, files put together, in mid-stream, damaged, cut; and foreign formats."""

import io
import os
import re
import struct
import threading
import warnings

import av
import numpy as np
import pytest
import soundfile

from ast_lib import audio
from ast_lib.audio import decoding
from ast_lib.errors import AstError

RATE = 44100


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
    return mp3[mp3.index(mp3[:2], 4) :]


def streamed(flac):
    """As an encoder writes to a pipe: it can not return to fill in the number of samples and their checksum."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(20) + flac[42:]


def data_size(data, size, mark=b"data", form="<I"):
    """With another size of the chunk that holds the sound."""
    place = data.index(mark) + 4
    return data[:place] + struct.pack(form, size) + data[place + struct.calcsize(form) :]


def wav_size(data, size):
    """A WAV file with another size of the sound in both places that have one, as its writer would put it."""
    return data_size(data_size(data, size), min(size + 36, 2**32 - 1), b"RIFF")


def ape_tag():
    """As mp3gain appends it: a header, one item and a footer."""
    item = struct.pack("<II", 8, 0) + b"REPLAYGAIN\0-6.20 dB"
    ends = [b"APETAGEX" + struct.pack("<4I8x", 2000, len(item) + 32, 1, flags) for flags in (0xA0000000, 0x80000000)]
    return ends[0] + item + ends[1]


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
    ("name", "make", "seconds"),
    [
        ("stream.flac", lambda w: streamed(w["flac"]), 4),
        ("tagged.flac", lambda w: b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + w["flac"], 4),
        ("two.flac", lambda w: w["flac"] * 2, 8),
        ("no_count.mp3", lambda w: without_count(w["mp3"]), 4),
        ("no_count_vbr.mp3", lambda w: without_count(w["vbr"]), 4),
        ("wrong_count.mp3", lambda w: w["mp3"] + without_count(w["mp3"]), 8),
        ("two.mp3", lambda w: w["mp3"] * 2, 8),
        ("tags.mp3", lambda w: b"ID3\4\0\0\0\0\x01\0" + bytes(128) + w["mp3"] + b"TAG" + bytes(125), 4),
        ("two_tagged.mp3", lambda w: (b"ID3\4\0\0\0\0\x01\0" + rubbish(128) + w["mp3"]) * 2, 8),
        ("replay_gain.mp3", lambda w: w["mp3"] + ape_tag() + b"TAG" + bytes(125), 4),
        ("zeros.mp3", lambda w: bytes(3000) + w["mp3"] + bytes(3000), 4),
        ("rubbish.mp3", lambda w: rubbish(3000) + w["mp3"], 4),
        ("chain.ogg", lambda w: w["ogg"] * 3, 12),
        ("chain.opus", lambda w: w["opus"] * 2, 8),
        ("page.ogg", lambda w: w["ogg"] + rubbish(500) + w["ogg"], 8),
        ("pipe_ffmpeg.wav", lambda w: wav_size(w["wav"], 2**32 - 1), 4),
        ("pipe_sox.wav", lambda w: wav_size(w["wav"], 2**31 - 37), 4),
        ("never_completed.wav", lambda w: wav_size(w["wav"], 0), 4),
        ("odd.wav", lambda w: w["wav"][:-1], 4),
        ("chunks.wav", lambda w: w["wav"] + b"LIST\4\0\0\0INFOid3 \2\0\0\0ab", 4),
        ("padded.wav", lambda w: w["wav"] + bytes(4000), 4),
        ("pipe.au", lambda w: w["au"][:8] + b"\xff" * 4 + w["au"][12:], 4),
        ("pipe.caf", lambda w: data_size(w["caf"], -1, form=">q"), 4),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_all_of_it_is_read_without_a_word(whole, tmp_path, capfd, name, make, seconds):
    signal, found = read(tmp_path, name, make(whole), capfd)
    assert found == []
    # A decoder of MP3 or Ogg that no header tells so does not know what an encoder padded.
    assert len(signal) / RATE == pytest.approx(seconds, abs=0.08 * seconds / 4)
    expected = sweep()
    if name == "no_count_vbr.mp3":
        # The trap: the length that the first frame suggests.
        assert soundfile.info(tmp_path / name).duration < 3
        expected[: RATE // 2], signal[: RATE // 2] = 0, 0
        assert holds(signal[RATE:], expected[RATE:])
    for start in range(0, seconds, 4):
        assert name == "no_count_vbr.mp3" or holds(signal[start * RATE : (start + 4) * RATE + 4000], expected)


# --- what is there, and a word on what is not


def half(data):
    return data[: len(data) // 2]


EARLY = r"it is incomplete: found {} s of 4\.00 s announced$"
UNENDED = r"found [\d.]+ s; the mark of its end is missing$"
DAMAGED = r"found {} s; it is damaged \(Invalid data found when processing input\)$"
BOTH = r"it is incomplete: found {} s of 4\.00 s announced; it is damaged \(Invalid data .*\)$"


@pytest.mark.parametrize(
    ("name", "make", "seconds", "said"),
    [
        ("cut.wav", lambda w: half(w["wav"]), (1.99, 2), EARLY.format(r"2\.00")),
        ("cut.aiff", lambda w: half(w["aiff"]), (1.99, 2), EARLY.format(r"2\.00")),
        ("cut.au", lambda w: half(w["au"]), (1.99, 2), EARLY.format(r"2\.00")),
        ("cut.w64", lambda w: half(w["w64"]), (1.99, 2), EARLY.format(r"2\.00")),
        ("cut.caf", lambda w: half(w["caf"]), (1.9, 2), EARLY.format(r"1\.\d\d")),
        ("cut.flac", lambda w: half(w["flac"]), (1.5, 2.5), BOTH.format(r"\d\.\d\d")),
        ("cut_stream.flac", lambda w: half(streamed(w["flac"])), (1.5, 2.5), DAMAGED.format(r"\d\.\d\d")),
        ("cut.mp3", lambda w: half(w["mp3"]), (1.8, 2.1), EARLY.format(r"[12]\.\d\d")),
        ("cut_vbr.mp3", lambda w: half(w["vbr"]), (1, 3), EARLY.format(r"\d\.\d\d")),
        ("cut.ogg", lambda w: half(w["noisy.ogg"]), (1, 2.5), UNENDED),
        ("cut.opus", lambda w: half(w["noisy.opus"]), (0.9, 2.5), UNENDED),
        ("cut_chain.ogg", lambda w: half(w["noisy.ogg"]) + w["noisy.ogg"], (5, 6.5), UNENDED),
        ("hole.flac", lambda w: half(w["flac"]) + rubbish(3000) + w["flac"][len(w["flac"]) // 2 + 3000 :], (1.5, 4),
         EARLY.format(r"[123]\.\d\d")),
        ("hole_and_end.flac", lambda w: half(w["flac"]) + rubbish(30000), (1.5, 2.5), BOTH.format(r"[12]\.\d\d")),
        ("hole.mp3", lambda w: half(w["mp3"]) + rubbish(4000) + w["mp3"][len(w["mp3"]) // 2 :], (3.8, 4.1),
         DAMAGED.format(r"[34]\.\d\d")),
        ("tail.mp3", lambda w: w["mp3"] + rubbish(5000), (4, 4.1), DAMAGED.format(r"4\.\d\d")),
        ("many.wav", lambda w: wav_size(w["wav"], 705600), (4, 4),
         r"it is incomplete: found 4\.00 s of 8\.00 s announced$"),
        ("few.wav", lambda w: wav_size(w["wav"], 88200), (1, 1),
         r"found 1\.00 s; the 264,600 bytes after the announced ones are left out$"),
        ("two.wav", lambda w: w["wav"] * 2, (4, 4), r"found 4\.00 s; the 352,844 bytes after .* are left out$"),
        ("mixed.ogg", lambda w: w["ogg"] + w["opus"], (4, 4), r"found 4\.00 s; the rest of it is not readable \("),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_there_is_read_and_what_is_not_is_said(whole, tmp_path, capfd, name, make, seconds, said):
    signal, found = read(tmp_path, name, make(whole), capfd)
    assert len(found) == 1 and re.match(said, found[0]), found
    assert seconds[0] <= len(signal) / RATE <= seconds[1]
    if name.startswith("cut.") and name not in ("cut.ogg", "cut.opus"):
        assert holds(signal, sweep()[: len(signal) - 3000])


@pytest.mark.parametrize("extension", ["flac", "mp3", "ogg"])
def test_where_the_rate_changes_the_sound_ends_with_a_word(tmp_path, capfd, extension):
    for rate in (RATE, RATE // 2):
        soundfile.write(tmp_path / f"{rate}.{extension}", sweep(rate), rate)
    data = b"".join((tmp_path / f"{rate}.{extension}").read_bytes() for rate in (RATE, RATE // 2))
    signal, found = read(tmp_path, f"rates.{extension}", data, capfd)
    assert len(signal) / RATE == pytest.approx(4, abs=0.06) and holds(signal, sweep())
    assert len(found) == 1 and re.match(r"found 4\.0\d s; the rest.* is (left out|not readable \(.*\))$", found[0])


def test_noise_of_a_damaged_frame_is_left_out(whole, tmp_path, capfd):
    """One wrong byte inside a frame of FLAC: its checksum tells."""
    data = bytearray(whole["flac"])
    data[len(data) // 2] ^= 0xFF
    signal, found = read(tmp_path, "a.flac", bytes(data), capfd)
    assert 3.7 < len(signal) / RATE < 4 and len(found) == 1 and "it is incomplete" in found[0]
    assert np.abs(signal).max() < 0.31


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "w64", "caf"])
def test_a_file_cut_anywhere_gives_audio_or_one_line(whole, tmp_path, capfd, extension):
    """A word on it where more than 0.15 s are missing, which may be one page of Ogg."""
    data = whole.get(f"noisy.{extension}", whole[extension])
    lengths, complete = [], len(read(tmp_path, f"a.{extension}", data, capfd)[0]) / RATE
    for share in (0.001, 0.01, 0.2, 0.4, 0.6, 0.9, 0.99):
        try:
            signal, found = read(tmp_path, f"a.{extension}", data[: int(share * len(data))], capfd)
            lengths.append(len(signal) / RATE)
            assert found or lengths[-1] > complete - 0.15
        except AstError as error:
            assert str(error).startswith(f"{tmp_path / 'a'}.{extension}: ") and "\n" not in str(error)
            lengths.append(0.0)
    assert lengths == sorted(lengths) and lengths[-1] > 3


@pytest.mark.parametrize("size", [10, 3000, 300_000])
@pytest.mark.parametrize("name", ["a", "a.mp3", "a.wav", "a.opus", "a.m4a"])
def test_random_bytes_are_no_audio(tmp_path, name, size):
    (tmp_path / name).write_bytes(rubbish(size))
    with pytest.raises(AstError, match=rf"{name}: not readable as audio"):
        audio.load(tmp_path / name)


# --- formats, pipes, devices


def formats():
    """Container and coding of what libsndfile writes and people keep music in: no telephone's, no ADPCM."""
    music = {"FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS"}
    for container in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG"):
        for coding in sorted(soundfile.available_subtypes(container)):
            if (coding in music or coding.startswith("PCM")) and soundfile.check_format(container, coding):
                yield container, coding
    yield "MP3", "MPEG_LAYER_III"


@pytest.mark.parametrize(("container", "coding"), list(formats()))
def test_samples_are_those_that_libsndfile_reads(tmp_path, container, coding):
    """Bit by bit where nothing is lost, else to rounding; as many of them, without an encoder's padding; no word."""
    rng = np.random.default_rng(0)
    noise = sweep(48000, 3.3)[:, None] * rng.uniform(0.5, 1, 2) + rng.normal(0, 0.02, (158_400, 2))
    soundfile.write(tmp_path / "a", noise, 48000, coding, format=container)
    expected = soundfile.read(tmp_path / "a", dtype="float32", always_2d=True)[0]
    with decoding.open_decoder(tmp_path / "a") as decoder:
        frames = np.concatenate(list(decoder))
    assert decoder.notes == [] and frames.shape == expected.shape and frames.dtype == np.float32
    assert np.abs(frames - expected).max() <= (2e-6 if coding in ("VORBIS", "OPUS", "MPEG_LAYER_III") else 0)


def test_a_headerless_file_is_refused_whatever_its_name(tmp_path):
    for name in ("a.raw", "a.wav", "a.mp3"):
        soundfile.write(tmp_path / name, sweep(), RATE, "PCM_16", format="RAW")
        with pytest.raises(AstError, match=rf"{name}: not readable as audio"):
            audio.load(tmp_path / name)


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
        frames = np.concatenate(list(decoder))
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
        with pytest.raises(AstError, match=f"^{name}: found a device, accepted is a file or a pipe$"):
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
    class Failing(io.FileIO):
        def readinto(self, buffer):
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    (tmp_path / "a.wav").write_bytes(whole["wav"])
    monkeypatch.setattr(decoding, "open", lambda path, mode: io.BufferedReader(Failing(path)), raising=False)
    with pytest.raises(AstError, match=r"a.wav: not readable \(Input/output error\)$"):
        audio.load(tmp_path / "a.wav")


# --- what phones and browsers write


FOREIGN = {
    "aac.m4a": "aac",
    "alac.m4a": "alac",
    "a.aac": "aac",
    "a.wma": "wmav2",
    "opus.webm": "libopus",
    "a.mp4": "aac",
    "a.mka": "libmp3lame",
    "a.ac3": "ac3",
}


def encoded(folder, name):
    """The sweep in another container and coding, with pictures in ``.mp4``."""
    rate = 48000 if name.startswith("opus") else RATE
    frame = av.AudioFrame.from_ndarray(sweep(rate)[None], format="fltp", layout="mono")
    frame.sample_rate = rate
    with av.open(str(folder / name), "w") as output:
        stream = output.add_stream(FOREIGN[name], rate=rate, layout="mono", bit_rate=128_000)
        if name.endswith(".mp4"):
            video = output.add_stream("mpeg4", rate=25, width=64, height=64, pix_fmt="yuv420p")
            output.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
            output.mux(video.encode(None))
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return (folder / name).read_bytes()


@pytest.mark.parametrize("extension", ["own", ".wav", ".mp3", ""])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_phones_and_browsers_write(tmp_path, capfd, name, extension):
    data = encoded(tmp_path, name)
    signal, found = read(tmp_path, name if extension == "own" else f"other{extension}", data, capfd)
    assert found == [] and len(signal) / RATE == pytest.approx(4, abs=0.15)
    assert holds(signal, sweep())
    if name == "alac.m4a":
        assert signal == pytest.approx(sweep(), abs=1e-4)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_stretch_of_a_foreign_file_is_what_the_whole_has_there(tmp_path, name):
    """Also where times in the file are whole milliseconds, or have an origin of their own."""
    encoded(tmp_path, name)
    with decoding.open_decoder(tmp_path / name) as decoder:
        whole = np.concatenate(list(decoder))
        for start in (0.0, 0.2, 1.3, 3.5):
            frames, rate = decoder.stretch(start, 0.4)
            first = round(start * rate)
            # Bands that AAC leaves to chance differ.
            assert rate == decoder.rate and frames == pytest.approx(whole[first : first + round(0.4 * rate)], abs=1e-3)
        assert decoder.stretch(9.0, 0.4)[0].shape == (0, 1)


@pytest.mark.parametrize("name", ["opus.webm", "a.mka", "a.wma", "a.aac"])
def test_a_foreign_file_cut_in_the_middle(tmp_path, capfd, name):
    signal, found = read(tmp_path, f"cut_{name}", half(encoded(tmp_path, name)), capfd)
    assert 1 < len(signal) / RATE < 3 and len(found) == 1
    assert re.match(r"it is incomplete: found .* announced|found .* it is damaged \(", found[0])


def test_a_foreign_file_without_its_table_of_contents(tmp_path):
    """It stands at the end of such an m4a file."""
    (tmp_path / "cut.m4a").write_bytes(half(encoded(tmp_path, "aac.m4a")))
    with pytest.raises(AstError, match=r"cut.m4a: not readable as audio \(Invalid data .*\); accepted is what FFmpeg"):
        audio.load(tmp_path / "cut.m4a")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"la la la\n" * 99),
        ("a.wav", b""),
        ("a.m3u8", b"#EXTM3U\nhttp://127.0.0.1:9/a\n"),
        ("a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9.0,\nb.wav\n#EXT-X-ENDLIST\n"),
        ("a.txt", b"ffconcat version 1.0\nfile b.wav\n"),
    ],
)
def test_what_nobody_reads(whole, tmp_path, monkeypatch, name, content):
    """A list of other files is none either."""
    (tmp_path / "b.wav").write_bytes(whole["wav"])
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AstError, match=rf"^{name}: not readable as audio \([^\n]+\); accepted is what FFmpeg reads$"):
        audio.load(name)


def test_pictures_without_sound(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        video = output.add_stream("mpeg4", rate=25, width=64, height=64, pix_fmt="yuv420p")
        output.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(video.encode(None))
    with pytest.raises(AstError, match=r"a.mp4: not readable as audio \(there is no sound in it\)$"):
        audio.load(tmp_path / "a.mp4")


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
