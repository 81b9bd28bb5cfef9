"""Figures with a slider: every state is there, named and described; what keys, fingers, paper and no scripts do."""

import base64
import importlib.util
import io
import re
import shutil

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from bs4 import BeautifulSoup
from models import noise, tone
from PIL import Image

from ast_lib.book import live
from ast_lib.errors import AstError

RATE = 22050
POWERS = [1, 2, 3]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def power_curve(power):
    """A curve whose line ends in the corner, on axes that are the same for every power."""
    drawn, axis = plt.subplots(figsize=(4, 3))
    x = np.linspace(0, 1, 50)
    axis.plot(x, x**power)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="x", ylabel="y")
    return drawn


def powers(**options):
    return live.figure(POWERS, power_curve, **({"label": "exponent", "alt": "A rising curve."} | options))


def soup(figure):
    return BeautifulSoup(figure.data, "html.parser")


def picture(tag):
    kind, data = tag["src"].split(",", 1)
    assert kind == "data:image/webp;base64"
    return base64.b64decode(data)


# --- What is in the page


def test_there_is_a_picture_a_state_in_order_and_one_is_shown():
    page = soup(powers())
    states = page.select("figure.live > .live-state")
    assert [state.select_one(".live-value").text for state in states] == ["exponent: 1", "exponent: 2", "exponent: 3"]
    assert [state.has_attr("hidden") for state in states] == [False, True, True]
    assert ["live-first" in state["class"] for state in states] == [True, False, False]
    assert len({tag["src"] for tag in page.find_all("img")}) == 3


def test_a_picture_shows_its_state():
    """The line passes through (1/2, 2^-power): there a pixel is coloured, and only in the picture of that power."""
    for power, tag in zip(POWERS, soup(powers()).find_all("img"), strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(picture(tag))).convert("RGB")).astype(int)
        reference = power_curve(power)
        reference.set_dpi(live.DPI)
        axis = reference.axes[0]
        for other in POWERS:
            column, row = axis.transData.transform((0.5, 0.5**other))
            around = pixels[len(pixels) - 1 - int(row) - 2 :, int(column) - 2 :][:5, :5]
            coloured = (around.max(axis=2) - around.min(axis=2) > 60).any()
            assert coloured == (other == power), (power, other)
        plt.close(reference)


def test_the_slider_has_a_name_a_value_with_unit_and_a_place_for_every_state():
    page = soup(powers(label="delay", unit="ms", start=1))
    slider = page.select_one("label.live-control > input[type=range]")
    assert slider.parent.text.strip() == "delay"
    assert (slider["min"], slider["max"], slider["step"], slider["value"]) == ("0", "2", "1", "1")
    assert slider["aria-valuetext"] == "2 ms" and slider["autocomplete"] == "off"
    assert [value["data-value"] for value in page.select(".live-value")] == ["1 ms", "2 ms", "3 ms"]
    assert [state.has_attr("hidden") for state in page.select(".live-state")] == [True, False, True]


def test_every_state_is_described():
    page = soup(powers(alt=lambda power: f"At one half it has reached {0.5**power:g}."))
    assert [tag["alt"] for tag in page.find_all("img")] == [
        "exponent 1. At one half it has reached 0.5.",
        "exponent 2. At one half it has reached 0.25.",
        "exponent 3. At one half it has reached 0.125.",
    ]
    assert len({tag["alt"] for tag in soup(powers()).find_all("img")}) == 3  # and with one text for all, by its name


@pytest.mark.parametrize(
    ("state", "unit", "text"),
    [
        (0.1, "", "0.1"),
        (-3, "dB", "−3 dB"),
        (np.float32(0.5), "ms", "0.5 ms"),
        ("half-way", "", "half-way"),
        (True, "", "True"),
    ],
)
def test_a_value_reads_as_a_person_writes_it(state, unit, text):
    assert live.value_text(state, unit) == text


def test_named_states_hand_their_value_to_the_drawing():
    seen = []

    def draw(power):
        seen.append(power)
        return power_curve(power)

    page = soup(live.figure({"line": 1, "parabola": 2}, draw, label="curve", alt="A curve."))
    assert seen == [1, 2]
    assert [value.text for value in page.select(".live-value")] == ["curve: line", "curve: parabola"]


def test_texts_are_text_not_markup():
    page = soup(powers(label='<b>"a" & b</b>', alt='<i title="x">it</i>'))
    assert not page.find_all(["b", "i"])
    assert page.select_one(".live-control").text.strip() == '<b>"a" & b</b>'
    assert page.find("img")["alt"] == '<b>"a" & b</b> 1. <i title="x">it</i>'


def test_what_shows_no_html_gets_the_first_state():
    shown = powers(start=2)
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    as_png = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("RGB")
    of_page = [Image.open(io.BytesIO(picture(tag))).convert("RGB") for tag in soup(shown).find_all("img")]
    differences = [np.abs(np.asarray(as_png, float) - np.asarray(each, float)).mean() for each in of_page]
    assert differences[2] < 0.2 < min(differences[:2])  # of 256 levels; the picture has 256 colours
    assert bundle["text/plain"] == "exponent 3. A rising curve."


def test_no_figure_stays_open():
    before = plt.get_fignums()
    powers()
    assert plt.get_fignums() == before


# --- Weight


def image_figure(side, seed):
    drawn = plt.figure(figsize=(side, side))
    axis = drawn.add_axes((0, 0, 1, 1))
    axis.imshow(np.random.default_rng(seed).random((300, 300)), cmap="magma")
    axis.axis("off")
    return drawn


def test_line_drawings_lose_nothing_and_weigh_little():
    page = soup(powers())
    for power, tag in zip(POWERS, page.find_all("img"), strict=True):
        png = np.asarray(Image.open(io.BytesIO(live.as_png(power_curve(power)))).convert("RGB"))
        assert (np.asarray(Image.open(io.BytesIO(picture(tag)))) == png).all()
        assert len(picture(tag)) < 10_000
        assert png.shape == (int(tag["height"]), int(tag["width"]), 3)


def test_a_picture_that_is_large_without_loss_loses_some():
    page = soup(live.figure([0, 1], lambda seed: image_figure(1.2, seed), label="seed", alt="Noise."))
    assert all(len(picture(tag)) <= live.BYTES for tag in page.find_all("img"))


def test_a_picture_that_is_too_large_is_refused():
    with pytest.raises(
        AstError, match=r"seed 0: found a picture of [\d,]+ bytes, accepted are 25,000; draw it smaller"
    ):
        live.figure([0, 1], lambda seed: image_figure(5, seed), label="seed", alt="Noise.")
    plt.close("all")


# --- Sounds


def test_every_state_has_its_sound_beside_the_pages(tmp_path):
    files = tmp_path / "audio" / "pitch"
    frequencies = [300, 450, 600]
    shown = live.figure(
        frequencies,
        lambda hertz: power_curve(1),
        label="pitch",
        unit="Hz",
        alt="A line.",
        sound=lambda hertz: tone(0.3, hertz),
        files=files,
    )
    players = soup(shown).select(".live-state audio")
    assert [player["aria-label"] for player in players] == ["pitch 300 Hz", "pitch 450 Hz", "pitch 600 Hz"]
    assert all(player.has_attr("controls") and player["preload"] == "none" for player in players)
    (tmp_path / "notebooks").mkdir()
    for player, frequency in zip(players, frequencies, strict=True):
        assert re.fullmatch(r"\.\./audio/pitch_\d\.mp3", player["src"])
        sound, rate = soundfile.read((tmp_path / "notebooks" / player["src"]).resolve())
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2**18))
        assert rate == RATE and np.argmax(spectrum) * rate / 2**18 == pytest.approx(frequency, abs=0.5)


# --- What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": [1]}, "states: found 1, accepted are 2 to 12"),
        ({"states": list(range(13))}, "states: found 13, accepted are 2 to 12"),
        ({"states": [1, 1.0, 2]}, "states: found 3 with 2 names, 1, 2; accepted is a name for each"),
        ({"start": 3}, "start: found 3, accepted is the index of a state, 0 to 2"),
        ({"start": -1}, "start: found -1"),
        ({"label": " "}, "label, alt: found an empty text"),
        ({"alt": ""}, "label, alt: found an empty text"),
        ({"alt": lambda power: "x" if power < 3 else ""}, "label, alt: found an empty text"),
        ({"sound": lambda power: noise(0.1)}, "sound, files: found one without the other"),
        ({"files": "audio/x"}, "sound, files: found one without the other"),
    ],
)
def test_arguments_that_make_no_figure_are_named_before_anything_is_drawn(options, message):
    def draw(state):
        raise AssertionError("drawn")

    values = {"states": POWERS, "label": "exponent", "alt": "A curve."} | options
    with pytest.raises(AstError, match=re.escape(message)):
        live.figure(values.pop("states"), draw, **values)


@pytest.mark.parametrize("change", ["limits", "size", "axes"])
def test_axes_that_differ_between_states_are_refused(change):
    def draw(power):
        drawn = power_curve(power)
        if power == 3 and change == "limits":
            drawn.axes[0].set_ylim(0, 2)
        elif power == 3 and change == "size":
            drawn.set_size_inches(4, 4)
        elif power == 3:
            drawn.add_axes((0.5, 0.5, 0.1, 0.1))
        return drawn

    with pytest.raises(AstError, match="exponent 3: found the axes"):
        live.figure(POWERS, draw, label="exponent", alt="A curve.")
    plt.close("all")


# --- On the site and elsewhere


def test_the_site_loads_style_and_script_and_anything_else_gets_them_in_the_output(monkeypatch, root):
    import kernels

    monkeypatch.delenv("AST_SITE", raising=False)
    page = soup(powers())
    assert page.script.text == (root / "book" / "_static" / "live.js").read_text(encoding="utf-8")
    assert page.style.text == (root / "book" / "_static" / "live.css").read_text(encoding="utf-8")
    monkeypatch.setenv("AST_SITE", kernels.environment(root, root)["AST_SITE"])
    page = soup(powers())
    assert not page.find_all(["script", "style"]) and page.find("figure")


# --- In a browser


@pytest.fixture(scope="module")
def browser():
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("the package playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page with two figures as Jupyter gets them, the second with sounds."""
    folder = tmp_path_factory.mktemp("site")
    options = {"label": "pitch", "unit": "Hz", "alt": "A line.", "start": 1}
    heard = live.figure(
        [300, 450, 600],
        lambda hertz: power_curve(1),
        sound=lambda hertz: tone(2.0, hertz),
        files=folder / "audio" / "pitch",
        **options,
    )
    (folder / "notebooks").mkdir()
    path = folder / "notebooks" / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>x</title><main>{powers().data}{heard.data}</main>")
    return path


@pytest.fixture
def opened(browser, page_file):
    """The page at the width of a phone; the test fails at an error in its console."""
    page = browser.new_page(viewport={"width": 360, "height": 740}, has_touch=True)
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_file.as_uri())
    yield page
    page.close()
    assert errors == []


def values(page):
    """Values that are seen on the page, one a figure."""
    return [text for text in page.locator(".live-value:visible").all_inner_texts()]


def test_arrow_keys_move_through_all_states_and_stop_at_the_ends(opened):
    first = opened.locator(".live-control input").first
    first.focus()
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
        first.press(key)
        seen.append((values(opened)[0], first.get_attribute("aria-valuetext")))
    assert [value for value, _ in seen] == [f"exponent: {n}" for n in (2, 3, 3, 2, 1, 3)]
    assert [spoken for _, spoken in seen] == ["2", "3", "3", "2", "1", "3"]
    assert values(opened)[1] == "pitch: 450 Hz"  # the other figure stays
    assert opened.locator("figure.live").first.locator("img:visible").count() == 1


def test_a_finger_chooses_a_state(opened):
    slider = opened.locator(".live-control input").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box["height"] >= 44
    opened.touchscreen.tap(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    assert values(opened)[0] == "exponent: 3"


def test_nothing_is_wider_than_a_phone(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_sound_goes_on_at_the_same_instant_in_the_next_state(opened):
    figure = opened.locator("figure.live").nth(1)
    figure.locator("audio:visible").evaluate("player => { player.muted = true; return player.play(); }")
    opened.wait_for_function("document.querySelectorAll('audio')[1].currentTime > 0.3")
    figure.locator("input").press("ArrowRight")
    opened.wait_for_function("!document.querySelectorAll('audio')[2].paused")
    assert opened.evaluate("document.querySelectorAll('audio')[1].paused")
    # Seeking in an MP3 is exact to a frame; the sound must not begin anew.
    opened.wait_for_function("document.querySelectorAll('audio')[2].readyState > 1")
    assert opened.evaluate("document.querySelectorAll('audio')[2].currentTime") > 0.25


def test_paper_shows_the_first_state_whatever_the_slider_says(opened):
    opened.locator(".live-control input").first.press("End")
    assert values(opened) == ["exponent: 3", "pitch: 450 Hz"]
    opened.emulate_media(media="print")
    assert values(opened) == ["exponent: 1", "pitch: 450 Hz"]
    assert opened.locator("input:visible, audio:visible").count() == 0
    assert opened.locator("img:visible").count() == 2


def test_without_scripts_the_first_state_is_seen_and_nothing_pretends_to_move(browser, page_file):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(page_file.as_uri())
    assert values(page) == ["exponent: 1", "pitch: 450 Hz"]
    assert page.locator("input:visible").count() == 0 and page.locator("img:visible").count() == 2
    page.context.close()


def test_a_figure_that_comes_later_works_as_well(opened):
    """As in Jupyter, which puts the output of a cell into a page that is already there."""
    opened.evaluate("document.querySelector('main').append(document.querySelector('figure.live').cloneNode(true))")
    opened.locator(".live-control input").nth(2).press("ArrowRight")
    assert values(opened) == ["exponent: 1", "pitch: 450 Hz", "exponent: 2"]
    assert opened.locator("img:visible").count() == 3


def test_jupyter_puts_the_output_into_its_page_and_it_moves(browser):
    """It sets the markup of a part that is not yet shown, makes the scripts anew, and then shows the part."""
    page = browser.new_page()
    page.set_content("<!doctype html><title>x</title><main></main>")
    page.evaluate(
        """output => {
            const part = document.createElement("div");
            part.innerHTML = output;
            for (const old of part.querySelectorAll("script")) {
                const script = document.createElement("script");
                script.textContent = old.textContent;
                old.replaceWith(script);
            }
            document.querySelector("main").append(part);
        }""",
        powers().data + powers(start=2).data,
    )
    page.locator("input").nth(1).press("ArrowLeft")
    assert values(page) == ["exponent: 1", "exponent: 2"]
    page.close()
