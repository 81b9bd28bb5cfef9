"""Audio files in and out: formats, rates, channels, everything that can be wrong with a file, a full disk."""

import os
import pathlib
import resource
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr

from ast_lib import audio
from ast_lib.errors import AstError

RATE = 22050
VIOLIN = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "bach-violin" / "audio"


def sine(rate=RATE, seconds=1.0, frequency=440.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def peak_frequency(signal, rate=RATE):
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 8 * len(signal)))
    return np.argmax(spectrum) * rate / (8 * len(signal))


@pytest.mark.parametrize("rate", [8000, 22050, 24000, 44099, 44100, 48000, 96000, 192000])
def test_any_rate_becomes_ours(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", sine(rate), rate, subtype="FLOAT")
    signal = audio.load(tmp_path / "a.wav")
    assert signal.dtype == np.float32 and signal.ndim == 1
    assert abs(len(signal) - RATE) <= 1
    middle = slice(RATE // 10, -RATE // 10)
    # The ends see the filter start and stop; between them it is the same sine.
    assert np.max(np.abs(signal[middle] - sine()[: len(signal)][middle])) < 2e-3


def test_what_the_lower_rate_cannot_hold_is_filtered_out(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(44100, frequency=15000) + sine(44100, frequency=1000), 44100)
    signal = audio.load(tmp_path / "a.wav")
    assert np.max(np.abs(signal - sine(frequency=1000))[2000:-2000]) < 2e-3


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path, channels):
    weights = np.linspace(0.2, 1, channels, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", sine()[:, None] * weights, RATE, subtype="FLOAT")
    assert audio.load(tmp_path / "a.wav") == pytest.approx(sine() * weights.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-31), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_any_bit_depth_is_read(tmp_path, subtype, step):
    soundfile.write(tmp_path / "a.wav", sine(), RATE, subtype=subtype)
    assert audio.load(tmp_path / "a.wav") == pytest.approx(sine(), abs=step + 1e-6)


@pytest.mark.parametrize(
    ("extension", "rate"), [("wav", 22050), ("flac", 22050), ("ogg", 22050), ("opus", 24000), ("mp3", 22050)]
)
def test_every_format_is_written_and_read_back(tmp_path, extension, rate):
    path = audio.save(tmp_path / f"a.{extension}", sine(seconds=2))
    assert soundfile.info(path).samplerate == rate
    signal = audio.load(path)
    assert len(signal) == pytest.approx(2 * RATE, abs=3000)  # mp3 pads its ends
    assert peak_frequency(signal[RATE // 2 : -RATE // 2]) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(signal[RATE // 2 : -RATE // 2] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{extension}"]


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_lossless_formats_keep_16_bits(tmp_path, extension):
    path = audio.save(tmp_path / f"a.{extension}", sine(44100), 44100)
    assert audio.load(path, 44100) == pytest.approx(sine(44100), abs=2**-15)


def test_an_upper_case_extension_is_known(tmp_path):
    assert audio.load(audio.save(tmp_path / "A.WAV", sine())) == pytest.approx(sine(), abs=2**-15)


def test_audio_above_full_scale_is_scaled_not_clipped(tmp_path):
    signal = audio.load(audio.save(tmp_path / "a.wav", 3 * sine()))
    assert signal == pytest.approx(sine() * 0.99 / np.abs(sine()).max(), abs=2**-15)
    # Up to full scale nothing is touched.
    assert audio.load(audio.save(tmp_path / "b.wav", 1.9 * sine())) == pytest.approx(1.9 * sine(), abs=2**-15)


def test_a_long_file_is_written_to_ogg(tmp_path):
    path = audio.save(tmp_path / "a.ogg", sine(seconds=300))
    assert soundfile.info(path).duration == pytest.approx(300)


def test_one_sample_is_audio(tmp_path):
    assert audio.load(audio.save(tmp_path / "a.wav", np.float32([0.5]))) == pytest.approx([0.5], abs=2**-15)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("john-garner/john-garner_bwv1002_mov6.mp3", 44100),
        ("minji-kim/minji-kim_bwv1003_mov3.opus", 48000),
    ],
)
def test_real_violin_recordings(name, message):
    path = VIOLIN / name
    if not path.is_file():
        pytest.skip("the Bach Violin recordings are not in ../shared/data beside this repository")
    info = soundfile.info(path)
    assert info.samplerate == message
    signal = audio.load(path)
    assert len(signal) == pytest.approx(info.duration * RATE, abs=2)
    assert 0.01 < np.sqrt(np.mean(signal**2)) < 0.5
    # A solo violin: little below its lowest string (196 Hz), much in the octaves above.
    power = np.abs(np.fft.rfft(signal[10 * RATE : 20 * RATE])) ** 2
    hertz = np.fft.rfftfreq(10 * RATE, 1 / RATE)
    assert power[hertz < 150].sum() < 0.05 * power[(hertz > 180) & (hertz < 3000)].sum()


# --- block by block


def test_blocks_are_the_whole(tmp_path):
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * 48000 + 17, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", signal, 48000, subtype="FLOAT")
    with audio.open_sound(tmp_path / "a.wav") as sound:
        assert (sound.rate, sound.samples) == (48000, len(signal)) and sound.seconds == pytest.approx(
            len(signal) / 48000
        )
        mono = signal.mean(axis=1) - signal.mean()
        assert sound.rms == pytest.approx(np.sqrt(np.mean(mono**2)), rel=1e-5)
        blocks = list(sound.blocks(RATE))
        assert len(blocks) > 1 and all(block.dtype == np.float32 and len(block) for block in blocks)
        assert np.array_equal(np.concatenate(blocks), audio.load(tmp_path / "a.wav"))
        assert np.concatenate(list(sound.blocks(RATE))) == pytest.approx(soxr.resample(mono, 48000, RATE), abs=1e-6)


@pytest.mark.parametrize("extension", ["wav", "ogg", "opus"])
def test_blocks_are_written_as_the_whole(tmp_path, extension):
    signal = 3 * sine(seconds=7)
    audio.save(tmp_path / f"a.{extension}", signal)
    audio.save(tmp_path / f"b.{extension}", np.split(signal, [1, 1, 5000, 100_000]))
    read = [soundfile.read(tmp_path / f"{name}.{extension}")[0] for name in "ab"]
    # A lossy encoder hears the last digit.
    assert read[0].shape == read[1].shape and np.sqrt(np.mean((read[1] - read[0]) ** 2)) < 2e-3
    if extension == "wav":
        assert np.abs(read[0]).max() == pytest.approx(audio.PEAK, abs=2**-15)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_source_of_blocks_that_fails_leaves_the_old_file(tmp_path):
    path = audio.save(tmp_path / "a.wav", sine())
    before = path.read_bytes()

    def blocks():
        yield sine()
        raise AstError("no more")

    with pytest.raises(AstError, match="^no more$"):
        audio.save(path, blocks())
    with pytest.raises(AstError, match="found 1 samples that are NaN"):
        audio.save(path, [sine(), np.float32([np.nan])])
    with pytest.raises(AstError, match=r"found audio of shape \(0,\)"):
        audio.save(path, [])
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# --- bad input


def check(path, message, **options):
    with pytest.raises(AstError, match=message) as caught:
        audio.load(path, **options)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    check(tmp_path / "none.wav", "no such file")
    check(tmp_path, "found a folder")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.opus", "a.flac", "a.raw", "a"])
def test_a_text_file_is_not_audio(tmp_path, name):
    (tmp_path / name).write_text("This is no music.\n" * 100)
    check(tmp_path / name, "not readable as audio")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg", "a.flac"])
def test_an_empty_file_is_not_audio(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    check(tmp_path / name, "not readable as audio")


def test_a_damaged_file_is_not_audio(tmp_path):
    path = audio.save(tmp_path / "a.flac", sine())
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)  # the stream's description
    path.write_bytes(data)
    check(path, "not readable as audio")


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 2)), RATE)
    check(tmp_path / "a.wav", "found 0 samples")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(tmp_path, bad):
    signal = sine()
    signal[[3, 5]] = bad
    soundfile.write(tmp_path / "a.wav", signal, RATE, subtype="FLOAT")
    check(tmp_path / "a.wav", "found 2 samples that are NaN or infinite")
    with pytest.raises(AstError, match="found 2 samples that are NaN or infinite"):
        audio.save(tmp_path / "b.wav", signal)
    assert not (tmp_path / "b.wav").exists()


def test_silence_is_refused_unless_allowed(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    check(tmp_path / "a.wav", "found silence, accepted is audio above -80 dB")
    assert audio.load(tmp_path / "a.wav", allow_silence=True) == pytest.approx(np.zeros(RATE))
    # A very soft recording is none.
    soundfile.write(tmp_path / "c.wav", 1e-3 * sine(), RATE, subtype="FLOAT")
    assert audio.load(tmp_path / "c.wav") == pytest.approx(1e-3 * sine(), abs=1e-7)


def test_channels_in_opposite_phase_give_the_louder_one(tmp_path):
    both = np.stack([-0.9 * sine(), sine()], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype="FLOAT")
    with pytest.warns(audio.AudioWarning, match=r"a\.wav: its 2 channels cancel .* only the louder, 2, is used$"):
        signal = audio.load(tmp_path / "a.wav")
    assert signal == pytest.approx(sine(), abs=1e-6)
    # Channels that have nothing to do with each other are averaged, however many are silent.
    lonely = sine()[:, None] * np.eye(8)[3]
    soundfile.write(tmp_path / "b.wav", lonely, RATE, subtype="FLOAT")
    assert audio.load(tmp_path / "b.wav") == pytest.approx(sine() / 8, abs=1e-6)


@pytest.mark.parametrize("shift", [0.3, -0.01])
def test_a_constant_is_no_sound(tmp_path, shift):
    soundfile.write(tmp_path / "a.wav", np.full(RATE, shift), RATE)
    check(
        tmp_path / "a.wav",
        rf"found silence \(a constant of {shift:.2g}\d* is no sound\), accepted is audio above -80 dB",
    )
    soundfile.write(tmp_path / "b.wav", sine() + shift, RATE, subtype="FLOAT")
    assert audio.load(tmp_path / "b.wav") == pytest.approx(sine(), abs=1e-6)
    with audio.open_sound(tmp_path / "b.wav") as sound:
        assert sound.rms == pytest.approx(0.5 / np.sqrt(2), rel=1e-4)


@pytest.mark.parametrize("size", [3e38, -3e38, 1e12])
def test_samples_beyond_all_reason(tmp_path, size, recwarn):
    soundfile.write(tmp_path / "a.wav", np.float32(sine() * size), RATE, subtype="FLOAT")
    check(tmp_path / "a.wav", r"found samples up to .*e\+\d+, accepted are those up to 1e\+09$")
    assert not recwarn.list


def test_a_rate_too_low_for_an_instrument(tmp_path):
    for rate in (1, 999, 1999):
        soundfile.write(tmp_path / "a.wav", sine(), rate)
        check(tmp_path / "a.wav", f"found a rate of {rate} Hz, accepted is 2000 Hz or more$")
    soundfile.write(tmp_path / "a.wav", sine(2000), 2000)
    assert len(audio.load(tmp_path / "a.wav")) == pytest.approx(RATE, abs=1)


def test_audio_in_memory_is_checked_by_the_same_rules():
    assert audio.check("source", sine()) == pytest.approx(sine())
    for wrong, message in [
        (np.zeros((2, 5)), r"source: found audio of shape \(2, 5\)"),
        (np.zeros(0), r"source: found audio of shape \(0,\)"),
        (np.array([0.1, np.nan]), "source: found 1 samples that are NaN or infinite"),
        (np.full(5, 5e-5), "source: found silence"),
        (np.full(5, 0.5), "source: found silence"),
    ]:
        with pytest.raises(AstError, match=message):
            audio.check("source", wrong)
    assert len(audio.check("source", np.zeros(5), allow_silence=True)) == 5


def test_a_constant_in_an_array_is_removed_as_from_a_file(tmp_path):
    moved = sine() + 0.1
    found = audio.without_mean("source", moved)
    assert found == pytest.approx(sine() - sine().mean(), abs=1e-6) and found.dtype == np.float32
    assert found == pytest.approx(audio.load(audio.save(tmp_path / "a.wav", moved)), abs=2**-15)
    assert audio.without_mean("source", np.array([0.5])) == pytest.approx([0.5])  # a click


def test_a_truncated_wav_is_read_as_far_as_it_goes(tmp_path):
    path = audio.save(tmp_path / "a.wav", sine())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert struct.unpack("<I", data[40:44])[0] == 2 * RATE  # the header promises one second
    with pytest.warns(audio.AudioWarning, match=r"a\.wav: it is incomplete: found 0\.50 s of 1\.00 s announced$"):
        assert len(audio.load(path)) == pytest.approx(RATE / 2, abs=30)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.aiff", "a.wav.part"])
def test_unknown_extensions(tmp_path, name):
    with pytest.raises(AstError, match=r"found the extension '.*', accepted are \.wav, \.flac, \.ogg, \.opus, \.mp3"):
        audio.save(tmp_path / name, sine())
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(AstError, match="the folder .*none does not exist"):
        audio.save(tmp_path / "none" / "a.wav", sine())
    (tmp_path / "b.wav").mkdir()
    with pytest.raises(AstError, match="found a folder"):
        audio.save(tmp_path / "b.wav", sine())


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path):
    with pytest.raises(AstError, match=r"could not be written: File name too long$"):
        audio.check_output(tmp_path / ("a" * 252 + ".wav"))
    path = tmp_path / ("a" * 251 + ".wav")  # the longest name there is
    assert audio.load(audio.save(audio.check_output(path), sine())) == pytest.approx(sine(), abs=2**-15)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "link.wav").symlink_to("none/a.wav")
    with pytest.raises(AstError, match=r"link.wav: the folder .*none does not exist$"):
        audio.check_output(tmp_path / "link.wav")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(AstError, match=r"a.wav: the folder .* cannot be written to$"):
        audio.check_output(tmp_path / "a.wav")


def test_a_link_stays_a_link_and_a_mode_stays_a_mode(tmp_path):
    (tmp_path / "real").mkdir()
    real = audio.save(tmp_path / "real" / "a.wav", sine())
    real.chmod(0o600)
    (tmp_path / "link.wav").symlink_to("real/a.wav")
    audio.save(tmp_path / "link.wav", sine(seconds=2))
    assert os.readlink(tmp_path / "link.wav") == "real/a.wav" and soundfile.info(real).duration == 2
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    # A new file gets what the system gives, and a link to nothing becomes one to the new file.
    (tmp_path / "new.wav").symlink_to("real/new.wav")
    audio.save(tmp_path / "new.wav", sine())
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "real" / "new.wav").stat().st_mode) == 0o666 & ~mask
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["a.wav", "new.wav"]


def test_a_full_disk_is_noticed_while_encoding(tmp_path, monkeypatch):
    """libsndfile does not report every failed write; what it writes to does."""
    written = []

    def write(self, data):
        written.append(len(data))
        self.error = self.error or (OSError(28, "No space left on device") if len(written) > 3 else None)
        return len(data)

    monkeypatch.setattr("ast_lib.audio.writing.VirtualFile.write", write)
    for extension in audio.FORMATS:
        with pytest.raises(AstError, match=rf"a{extension}: could not be written: No space left on device$"):
            audio.save(tmp_path / f"a{extension}", sine(seconds=10))
        written.clear()
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Five minutes in stereo are 106 MB as float32; reading and writing them take a fifth of it."""
    script = "import sys, resource\nfrom ast_lib import audio\n"
    script += "with audio.open_sound(sys.argv[1]) as sound: audio.save(sys.argv[2], sound.blocks())\n"
    script += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    block, peaks = sine(44100, 10)[:, None] * [1, 0.5], []
    for times in (1, 30):
        with soundfile.SoundFile(tmp_path / "a.flac", "w", 44100, 2) as file:
            for _ in range(times):
                file.write(block)
        command = [sys.executable, "-c", script, tmp_path / "a.flac", tmp_path / "b.wav"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        peaks.append(int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout))
    assert soundfile.info(tmp_path / "b.wav").duration == pytest.approx(300, abs=0.01)
    assert peaks[1] - peaks[0] < 20, f"peaks of 10 s and 300 s in MB: {peaks}"


@pytest.mark.parametrize("shape", [(0,), (2, 10), ()])
def test_shapes_that_are_no_mono_audio(tmp_path, shape):
    with pytest.raises(AstError, match="found audio of shape"):
        audio.save(tmp_path / "a.wav", np.zeros(shape))


def test_a_rate_that_the_format_has_not(tmp_path):
    with pytest.raises(AstError, match=r"44099 Hz cannot be written as \.mp3"):
        audio.save(tmp_path / "a.mp3", sine(), 44099)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extension", ["wav", "ogg", "mp3"])
def test_a_disk_that_fills_while_writing_leaves_the_old_file(tmp_path, extension):
    path = audio.save(tmp_path / f"a.{extension}", sine())
    before = path.read_bytes()
    # The system refuses to let any file grow beyond 4 kB: a real write that fails halfway.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(AstError, match=rf"a\.{extension}: could not be written: File too large"):
            audio.save(path, sine(seconds=20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AstError, match="could not be written: No space left on device"):
        audio.save(tmp_path / "a.wav", sine())
    assert not list(tmp_path.iterdir())
