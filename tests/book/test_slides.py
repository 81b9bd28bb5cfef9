"""Decks: they hold what is on a chapter's path, are turned by keys, cut nothing off and load nothing from outside."""

import base64
import re
import shutil

import jupytext
import nbformat
import pytest
from chromium import browser
from sample import CHAPTER

import slides

# A picture of one pixel, and a player.
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
        "0000000049454e44ae426082"
    )
).decode()
PLAYER = '<tr><th scope="row">clip {}</th><td><audio controls preload="none" src="../audio/a.mp3"></audio></td></tr>'
FITS = """[...document.querySelectorAll("section")].map((slide) => {
  const box = slide.querySelector(".fit").getBoundingClientRect();
  const title = slide.querySelector("h2");
  return box.left >= 0 && box.right <= 1280 && box.bottom <= 720 &&
    box.top >= (title ? title.getBoundingClientRect().bottom : 0) && slide.scrollWidth <= 1280;
})"""
SMALLEST = """Math.min(...[...document.querySelectorAll(".fit")].map(
  (content) => content.getBoundingClientRect().width / content.offsetWidth))"""


def executed(text: str = CHAPTER) -> nbformat.NotebookNode:
    """The sample chapter with a figure and sounds."""
    notebook = jupytext.reads(text, fmt="md:myst")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    rows = "".join(PLAYER.format(number) for number in range(6))
    code[1].metadata["mystnb"] = {"image": {"alt": "A chord below its arc."}}
    code[1].outputs = [
        nbformat.v4.new_output("display_data", data={"image/png": PIXEL}),
        nbformat.v4.new_output("display_data", data={"text/html": f"<table>{rows}</table>"}),
    ]
    code[-1].outputs = [nbformat.v4.new_output("display_data", data={"image/png": PIXEL})]
    return notebook


def test_a_chapter_becomes_its_question_equations_key_sentence_figures_sounds_and_quizzes():
    made = list(slides.chapter_slides(executed(), {}))
    kinds = [re.search(r'<section class="(\w*)"', each)[1] for each in made]
    assert kinds == ["chapter", "figure", "sounds", "equation", "key", "quiz"]
    assert "<h1>A small chapter</h1><p>Its question is how long a chord is.</p>" in made[0]
    assert 'alt="A chord below its arc."' in made[1] and PIXEL in made[1]
    assert made[2].count("<audio") == slides.ROWS and 'src="audio/a.mp3"' in made[2]
    assert r"\[\ell = 2 r \sin(\theta / 2)\]" in made[3]
    assert "A chord is shorter than its arc." in made[4]
    assert "<summary>Answer</summary>" in made[5] and "(chord-length) with" in made[5]
    assert r"\sin x &lt; x" not in "".join(made), "a proof that is folded is not on the path"


@pytest.fixture(scope="module")
def decks(root, tmp_path_factory):
    """Decks of a course whose sessions all have the sample chapter, with a wide equation and a long sentence."""
    place = tmp_path_factory.mktemp("decks")
    (place / "notebooks").mkdir()
    (place / "book").mkdir()
    wide = "```{math}\n" + " + ".join(f"x_{{{number}}}" for number in range(30)) + "\n```\n\n"
    long = "**" + " ".join(["A sentence that goes on and on"] * 40) + ".**\n\n"
    text = CHAPTER.replace("## Exercises", wide + long + "## Exercises")
    (place / "notebooks" / "02_chord.md").write_text(text)
    entry = '[[plan.8]]\ntitle = "Chords & arcs"\nchapters = ["02"]\ngoal = "Measure."\nbefore = "sines"\n'
    (place / "book" / "course.toml").write_text(entry * 8)
    built = place / "build" / "quick"
    for name in ("notebooks", "audio"):
        (built / name).mkdir(parents=True)
    (built / "audio" / "a.mp3").write_bytes(b"sound")
    nbformat.write(executed(text), built / "notebooks" / "02_chord.ipynb")
    assert slides.main(["--root", str(place)]) == 0
    return place / "build" / "slides"


def test_a_deck_is_turned_by_keys_and_asks_for_nothing_outside(decks):
    with browser() as page:
        page.open(decks / "session_3.html", 1280, 720)
        shown = "[...document.querySelectorAll('section')].findIndex((slide) => slide.matches('.shown'))"
        count = page.run("document.querySelectorAll('section').length")
        assert page.run(shown) == 0 and count == 9
        page.press("ArrowRight", "ArrowRight")
        assert page.run(shown) == 2 and page.run("location.hash") == "#3"
        page.press("ArrowLeft")
        assert page.run(shown) == 1
        page.press("End")
        assert page.run(shown) == count - 1
        page.press("ArrowRight")
        assert page.run(shown) == count - 1
        page.press("Home")
        assert page.run("document.querySelector('output').value") == f"1 / {count}"
        assert page.run("document.querySelectorAll('mjx-container').length") > 3
        assert page.run(FITS) == [True] * count
        assert page.run(SMALLEST) > 0.3
        assert page.errors == []
        assert [name for name in page.requests if not name.startswith(decks.as_uri())] == []


def test_decks_are_whole_and_named(decks):
    names = sorted(path.name for path in decks.iterdir())
    assert names == ["audio", *(f"session_{number}.html" for number in range(1, 9)), "tex-svg-full.js"]
    assert [path.name for path in (decks / "audio").iterdir()] == ["a.mp3"]
    text = (decks / "session_2.html").read_text(encoding="utf-8")
    assert "<title>2. Chords &amp; arcs</title>" in text and "<noscript>" in text
    assert not re.search(r"(?:src|href)=\"(?!data:|audio/|tex-svg)", text)


def test_a_chapter_that_was_not_executed_is_named(decks, capsys):
    place = decks.parent.parent
    moved = place / "build" / "elsewhere"
    shutil.copytree(place / "build" / "quick", moved)
    (moved / "notebooks" / "02_chord.ipynb").unlink()
    assert slides.main(["--root", str(place), "--profile", "elsewhere"]) == 1
    assert "slides: 02_chord has not been executed; first: make book" in capsys.readouterr().err


@pytest.mark.book
def test_the_decks_of_the_book_fit_their_window(root, book):
    """Of the built book: every slide of every session, as a projector shows it."""
    folder = slides.write(root, book.parent.name)
    with browser() as page:
        for path in sorted(folder.glob("session_*.html")):
            page.open(path, 1280, 720)
            assert page.run(FITS) == [True] * page.run("document.querySelectorAll('section').length"), path.name
            assert page.run(SMALLEST) > 0.4, path.name
            assert page.errors == [] and [name for name in page.requests if not name.startswith(folder.as_uri())] == []
