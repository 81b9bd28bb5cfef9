"""What chapters show: spectrograms in dB, grids of pictures, players whose files exist."""

import inspect
import json
import re

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
import torch
from bs4 import BeautifulSoup
from models import noise, tone

from ast_lib import losses
from ast_lib.book import display
from ast_lib.book.display import decibel_spectrogram, show_source, sound_grid, spectrogram_grid
from ast_lib.errors import AstError
from ast_lib.losses.margin import class_prototypes
from ast_lib.representation import Spectrogram
from ast_lib.training.cuda_graphs import StepGraphs

RATE = 22050


# --- Source text


def test_the_source_shown_is_the_file_s_below_its_name(root):
    shown = show_source(decibel_spectrogram)
    assert shown.data == "# ast_lib/book/display.py\n" + inspect.getsource(decibel_spectrogram)
    assert shown.language == "python"
    assert inspect.getsource(decibel_spectrogram) in (root / "ast_lib" / "book" / "display.py").read_text()


def test_a_method_begins_at_the_margin():
    lines = show_source(Spectrogram.forward).data.splitlines()
    assert lines[0] == "# ast_lib/representation/spectrogram.py" and lines[1].startswith("def forward(self")
    assert lines[2].startswith("    ")


def test_a_decorated_function_is_shown_with_its_own_source_and_file():
    source = show_source(class_prototypes).data
    assert source.startswith("# ast_lib/losses/margin.py\n@full_precision\ndef class_prototypes")
    assert losses.full_precision.__name__ not in show_source(display.show_source).data


def test_of_a_docstring_the_first_paragraph_is_shown():
    source = show_source(class_prototypes).data
    assert '``z_class`` (equations ``prototype`` and ``margin-prototype``). …"""\n    check_shapes' in source
    assert "Args:" not in source and "accepted are batches with every class" in source
    # Code that follows the docstrings of several methods stays.
    lines = inspect.getsource(StepGraphs).splitlines()
    shown = show_source(StepGraphs).data.splitlines()
    assert [line for line in lines if line.strip()][-1] == shown[-1] and sum("def " in line for line in shown) == 5


# --- Spectrogram


@pytest.mark.parametrize("index", [20, 100, 300])
def test_a_sinusoid_peaks_at_its_bin_with_its_level(index):
    decibels = decibel_spectrogram(tone(1.0, index * RATE / 1024, amplitude=0.1))
    middle = decibels[:, 5:-5]
    assert decibels.shape == (513, 1 + RATE // 256)
    assert (middle.argmax(axis=0) == index).all()
    # Amplitude times half the window's sum, over the floor of 1e-3.
    assert middle.max() == pytest.approx(20 * np.log10(0.1 * 256 / 1e-3), abs=0.1)


def test_silence_is_0_db_and_nothing_is_below():
    assert not decibel_spectrogram(np.zeros(3000, np.float32)).any()
    assert (decibel_spectrogram(noise(0.5, rms=1e-6)) >= 0).all()


@pytest.mark.parametrize("samples", [1, 100, 1024, 5000])
def test_frames_are_those_of_the_representation(samples):
    sound = noise(1.0)[:samples]
    assert decibel_spectrogram(sound).shape[1] == 1 + samples // 256
    if samples > 2048:  # away from the ends, which are padded otherwise
        expected = Spectrogram()(torch.from_numpy(sound)[None])[0].abs().T.numpy()
        expected = 20 * np.log10(expected / 1e-3 + 1)
        # Their Hann windows differ by one sample in the period.
        assert np.abs(decibel_spectrogram(sound)[5:-5, 3:-3] - expected[5:-5, 3:-3]).mean() < 0.3


# --- Pictures


@pytest.fixture
def figures():
    yield
    plt.close("all")


@pytest.mark.parametrize(("count", "columns", "shape"), [(1, 2, (1, 2)), (3, 2, (2, 2)), (4, 4, (1, 4))])
def test_a_grid_has_one_picture_a_sound_on_the_same_axes(figures, count, columns, shape):
    sounds = {f"sound {i}": tone(0.5 + 0.1 * i) for i in range(count)}
    figure = spectrogram_grid(sounds, columns, top=5000)
    axes = figure.axes[: shape[0] * shape[1]]
    assert [axis.get_title() for axis in axes if axis.get_visible()] == list(sounds)
    for axis, sound in zip(axes, sounds.values(), strict=False):
        (image,) = axis.images
        assert image.get_extent() == [0, len(sound) / RATE, 0, RATE / 2000] and image.get_clim() == (0, 90)
        assert axis.get_ylim() == (0, 5)
    assert len(figure.axes) == shape[0] * shape[1] + 1  # and the one scale of colours


# --- Players


def cells(table):
    return BeautifulSoup(table.data, "html.parser").find_all("audio")


def test_every_player_has_its_own_file_beside_the_page(tmp_path):
    folder = tmp_path / "site" / "audio"
    sounds = {f"clip {row}": {"source": tone(0.3, 300 + row), "output": tone(0.3, 600 + row)} for row in range(3)}
    players = cells(sound_grid(sounds, folder, "piano"))
    sources = [player["src"] for player in players]
    assert len(set(sources)) == 6 == len(list(folder.glob("*.mp3"))) == len(list(folder.glob("*.webp")))
    page = tmp_path / "site" / "notebooks"
    page.mkdir()
    for source, frequency in zip(sources, (300, 600, 301, 601, 302, 602), strict=True):
        assert re.fullmatch(r"\.\./audio/piano_\d_\d\.mp3", source)
        sound, rate = soundfile.read((page / source).resolve())
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2**18))
        assert rate == RATE and np.argmax(spectrum) * rate / 2**18 == pytest.approx(frequency, abs=0.4)


def test_groups_and_players_are_labelled(tmp_path):
    sounds = {"Reel": {"source": tone(0.1), "model": tone(0.1)}, "Jig": {"source": tone(0.1), "model": tone(0.1)}}
    table = sound_grid(sounds, tmp_path / "audio", "x", notes={"Jig": "Listen to <its> end."})
    page = BeautifulSoup(table.data, "html.parser")
    assert [group["aria-label"] for group in page.select(".listen")] == ["Reel", "Jig"]
    assert [group["id"] for group in page.select(".listen")] == ["listen-x-0", "listen-x-1"]
    assert [name.text for name in page.select(".listen-name")] == ["source", "model"] * 2
    assert [note.text for note in page.select(".listen-note")] == ["Listen to <its> end."]
    labels = [player["aria-label"] for player in cells(table)]
    assert labels == ["Reel: source", "Reel: model", "Jig: source", "Jig: model"]
    assert all(player.has_attr("controls") and player["preload"] == "none" for player in cells(table))


def test_the_spectrograms_of_a_group_share_their_axes(tmp_path):
    """A tone of half a second beside one of a whole second fills half of its picture, at its frequency."""
    high, low = tone(1.0, 3000), tone(0.5, 1500)
    page = BeautifulSoup(sound_grid({"a": {"high": high, "low": low}}, tmp_path / "audio", "x").data, "html.parser")
    pictures = [tmp_path / "audio" / picture["src"].split("/")[-1] for picture in page.find_all("img")]
    width, height = display.PICTURE
    assert [(p["width"], p["height"]) for p in page.find_all("img")] == [(str(width), str(height))] * 2
    assert all(p["alt"].strip() and p["loading"] == "lazy" for p in page.find_all("img"))
    for path, frequency, until in zip(pictures, (3000, 1500), (1.0, 0.5), strict=True):
        light = plt.imread(path)[..., :3].astype(float).sum(axis=-1)
        assert light.shape == (height, width)
        row = light[:, : width // 2].mean(axis=1).argmax()
        assert (1 - (row + 0.5) / height) * display.TOP == pytest.approx(frequency, abs=display.TOP / height * 1.5)
        bright = light[row] > light[row].max() / 2
        assert bright.sum() / width == pytest.approx(until, abs=0.02)


def test_a_blind_test_knows_its_two_sounds(tmp_path):
    sounds = {"a": {"ours": tone(0.1), "truth": tone(0.1)}, "b": {"ours": tone(0.1)}}
    page = BeautifulSoup(
        sound_grid(sounds, tmp_path / "audio", "x", blind=("truth", "ours")).data, "html.parser"
    ).select(".listen-blind")
    trial = {"clip": "a", "true": "../audio/x_0_1.mp3", "other": "../audio/x_0_0.mp3"}
    assert [json.loads(test["data-test"]) for test in page] == [{"true": "truth", "other": "ours", "trials": [trial]}]
    assert not BeautifulSoup(sound_grid(sounds, tmp_path / "audio", "x").data, "html.parser").select(".listen-blind")


# --- Loudness


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_a_full_sinusoid_of_1_khz_has_minus_3_lufs(rate):
    """ITU-R BS.1770: 997 Hz at full scale in one channel is -3.01 LUFS, and 20 dB less is 20 LU less."""
    sound = np.sin(2 * np.pi * 997 * np.arange(3 * rate) / rate)
    assert display.loudness(sound, rate) == pytest.approx(-3.01, abs=0.05)
    assert display.loudness(sound / 10, rate) == pytest.approx(-23.01, abs=0.05)


def test_pauses_do_not_count():
    sound = tone(2.0, 997, amplitude=0.5)
    with_pause = np.concatenate([sound, np.zeros(20 * RATE, sound.dtype)])
    assert display.loudness(with_pause) == pytest.approx(display.loudness(sound), abs=0.5)
    assert display.loudness(np.zeros(RATE)) == -np.inf


def test_sounds_of_a_group_are_as_loud_as_each_other():
    given = {"soft": tone(1.0, 500, amplitude=0.01), "loud": tone(1.0, 500, amplitude=0.9), "none": np.zeros(RATE)}
    made = display.matched(given)
    assert display.loudness(made["soft"]) == pytest.approx(display.LOUDNESS, abs=0.1)
    assert display.loudness(made["loud"]) == pytest.approx(display.LOUDNESS, abs=0.1)
    assert not made["none"].any()
    click = np.zeros(RATE, np.float32)
    click[::4000] = 1
    made = display.matched({"click": click, "tone": tone(1.0, 500)})
    assert display.loudness(made["click"]) == pytest.approx(display.loudness(made["tone"]), abs=0.1)
    assert max(np.abs(sound).max() for sound in made.values()) <= 0.98 + 1e-6


# --- What can go wrong


def test_labels_are_text_not_markup(tmp_path):
    row, column = '<b>"Tom & Jerry\'s"</b>', "a < b"
    table = sound_grid({row: {column: tone(0.1)}}, tmp_path / "audio", "x")
    page = BeautifulSoup(table.data, "html.parser")
    assert not page.find_all("b") and page.select_one(".listen-title").text == row
    assert cells(table)[0]["aria-label"] == f"{row}: {column}"


def test_a_sound_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(AstError, match="x_0_0.mp3: found 1 samples that are NaN"):
        sound_grid({"a": {"b": np.array([0.1, np.nan])}}, tmp_path / "audio", "x")
    assert not list((tmp_path / "audio").iterdir())


def test_silence_can_be_played(tmp_path):
    (player,) = cells(sound_grid({"a": {"b": np.zeros(3000, np.float32)}}, tmp_path / "audio", "x"))
    assert not soundfile.read(tmp_path / "audio" / player["src"].split("/")[-1])[0].any()
