"""What chapters show: spectrograms in dB, grids of pictures, tables of players whose files exist."""

import inspect
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
from ast_lib.representation import Spectrogram

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
    from ast_lib.losses.margin import class_prototypes

    source = show_source(class_prototypes).data
    assert source.startswith("# ast_lib/losses/margin.py\n@full_precision\ndef class_prototypes")
    assert losses.full_precision.__name__ not in show_source(display.show_source).data


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
    assert len(set(sources)) == 6 == len(list(folder.iterdir()))
    page = tmp_path / "site" / "notebooks"
    page.mkdir()
    for source, frequency in zip(sources, (300, 600, 301, 601, 302, 602), strict=True):
        assert re.fullmatch(r"\.\./audio/piano_\d_\d\.mp3", source)
        sound, rate = soundfile.read((page / source).resolve())
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2**18))
        assert rate == RATE and np.argmax(spectrum) * rate / 2**18 == pytest.approx(frequency, abs=0.4)


def test_rows_columns_and_players_are_labelled(tmp_path):
    sounds = {"Reel": {"source": tone(0.1), "model": tone(0.1)}, "Jig": {"source": tone(0.1), "model": tone(0.1)}}
    table = sound_grid(sounds, tmp_path / "audio", "x")
    page = BeautifulSoup(table.data, "html.parser")
    assert [head.text for head in page.find_all("th", scope="col")] == ["clip", "source", "model"]
    assert [head.text for head in page.find_all("th", scope="row")] == ["Reel", "Jig"]
    labels = [player["aria-label"] for player in cells(table)]
    assert labels == ["Reel: source", "Reel: model", "Jig: source", "Jig: model"]
    assert all(player.has_attr("controls") and player["preload"] == "none" for player in cells(table))


def test_labels_are_text_not_markup(tmp_path):
    row, column = '<b>"Tom & Jerry\'s"</b>', "a < b"
    table = sound_grid({row: {column: tone(0.1)}}, tmp_path / "audio", "x")
    page = BeautifulSoup(table.data, "html.parser")
    assert not page.find_all("b") and page.find("th", scope="row").text == row
    assert cells(table)[0]["aria-label"] == f"{row}: {column}"


def test_a_sound_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(AstError, match="x_0_0.mp3: found 1 samples that are NaN"):
        sound_grid({"a": {"b": np.array([0.1, np.nan])}}, tmp_path / "audio", "x")
    assert not list((tmp_path / "audio").iterdir())


def test_silence_can_be_played(tmp_path):
    (player,) = cells(sound_grid({"a": {"b": np.zeros(3000, np.float32)}}, tmp_path / "audio", "x"))
    assert not soundfile.read(tmp_path / "audio" / player["src"].split("/")[-1])[0].any()
