"""Decks for a class, made of executed chapters: ``python tools/slides.py [--profile quick]``.

``build/slides/session_N.html``, one for each session of the plan of eight (:mod:`course`), opens offline in a browser:
its titles, the sentence that a chapter prints in bold, the equations on its path, figures, sounds and quizzes. Figures
are inside of a deck, sounds and MathJax in folders beside it.
"""

import argparse
import html
import importlib.util
import pathlib
import re
import shutil
import string
import sys
from collections.abc import Iterator, Mapping

import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode
from prose import sentences

import quiz
from chapter_dependencies import ROOT, BuildError
from course import Session, sessions
from exercises import DIRECTIVE
from student_notebooks import page_titles, plain

SESSIONS = 8
MATHJAX = "tex-svg-full.js"  # all in one file, without fonts
TEMPLATE = pathlib.Path(__file__).with_name("deck.html")
ROWS = 4  # of a table of sounds; a slide has room for no more
OPENINGS = ("#", "**Objectives", "**Prerequisites", "**Code", "|", "<", "(")
MARKDOWN = MarkdownIt("commonmark", {"html": False}).use(
    dollarmath_plugin,
    renderer=lambda text, kind: rf"\[{html.escape(text)}\]" if kind["display_mode"] else rf"\({html.escape(text)}\)",
)


def rendered(text: str) -> str:
    """Markdown as HTML, links as their text."""
    return MARKDOWN.render(re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text))


def slide(title: str, body: str, kind: str = "") -> str:
    """A section of a deck."""
    heading = f"<h2>{MARKDOWN.renderInline(title)}</h2>" if title else ""
    return f'<section class="{kind}">{heading}<div class="body"><div class="fit">{body}</div></div></section>'


def paragraphs(text: str) -> list[str]:
    """The paragraphs of running text."""
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return [block for block in blocks if block and not block.startswith(OPENINGS)]


def equation(body: str, before: str, after: str) -> str:
    """An equation between the sentences that lead to it and the one that names its symbols."""
    lead, end = paragraphs(before)[-1:], paragraphs(after)[:1]
    parts = [" ".join(sentences(text)[-2:]) for text in lead]
    parts.append(f"$$\n{body.strip()}\n$$")
    parts += [sentences(text)[0] for text in end if re.match(r"(?:with|where|here)\b", text, flags=re.IGNORECASE)]
    return rendered("\n\n".join(parts))


def question(match: re.Match, titles: Mapping[str, str]) -> str:
    """A quiz: its answers, and below them the right one, folded."""
    found = quiz.answers(plain(match["body"], titles).splitlines())
    listed = "".join(f"<li>{MARKDOWN.renderInline(answer.text)}</li>" for answer in found)
    right = next(answer for answer in found if answer.right)
    folded = rendered(f"{right.text} – {right.reason}")
    return f'<ol type="a">{listed}</ol><details><summary>Answer</summary>{folded}</details>'


def prose_slides(text: str, heading: str, titles: Mapping[str, str], asking: bool) -> Iterator[tuple[str, str]]:
    """Headings, equations, key sentences and quizzes of a cell, as (heading, slide or nothing)."""
    parts = list(DIRECTIVE.finditer(text))
    ends = [match.end() for match in parts]
    for match, start, stop in zip(
        [*parts, None], [0, *ends], [*(match.start() for match in parts), len(text)], strict=True
    ):
        between = plain(text[start:stop], titles)
        for line in re.finditer(r"^#{1,3} (.+)$|\*\*([^*]+)\*\*", between, flags=re.MULTILINE):
            if line[1]:
                heading = line[1]
                yield heading, ""
            elif len(line[2].split()) > 6 and line[2].rstrip()[-1] in ".?" and not asking:
                yield heading, slide(heading, rendered(" ".join(line[2].split())), "key")
        if match and match["name"] == "math" and not asking:
            body = plain(match["body"], titles)
            after = plain(text[match.end() :], titles)
            yield heading, slide(heading, equation(body, between, after), "equation")
        elif match and match["name"] == "quiz":
            yield heading, slide(plain(match["argument"], titles), question(match, titles), "quiz")


def output_slides(cell: NotebookNode, heading: str) -> Iterator[str]:
    """Figures and sounds of a cell."""
    caption = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        kind = next((kind for kind in data if kind in ("image/png", "image/jpeg")), None)
        if kind and caption:
            source = f"data:{kind};base64,{''.join(data[kind].split())}"
            figure = f'<figure><img src="{source}" alt="{html.escape(caption, quote=True)}">'
            yield slide(heading, f"{figure}<figcaption>{html.escape(caption)}</figcaption></figure>", "figure")
        elif "<audio" in data.get("text/html", "") and "<script" not in data["text/html"]:
            rows = re.findall(r"<tr>(?:(?!</tr>).)*<audio.*?</tr>", data["text/html"], flags=re.DOTALL)
            shown = data["text/html"]
            for row in rows[ROWS:]:
                shown = shown.replace(row, "")
            comparisons = re.findall(r'<div class="listen" .*?</ol></div>', shown, flags=re.DOTALL)
            for each in comparisons[:ROWS] or [shown]:
                yield slide(heading, each.replace('src="../audio/', 'src="audio/'), "sounds")


def chapter_slides(notebook: NotebookNode, titles: Mapping[str, str]) -> Iterator[str]:
    """The slides of an executed chapter; of its exercises only the quizzes."""
    heading, asking = "", False
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            if not asking and "hide-cell" not in cell.metadata.get("tags", ()):
                yield from output_slides(cell, heading)
            continue
        if number == 0:
            title = re.search(r"^# (.+)$", cell.source, flags=re.MULTILINE)[1]
            opening = " ".join(sentences((paragraphs(plain(first_prose(notebook), titles)) or [""])[0])[:2])
            yield slide("", f"<h1>{MARKDOWN.renderInline(title)}</h1>{rendered(opening)}", "chapter")
        for new, made in prose_slides(cell.source, heading, titles, asking):
            heading, asking = new, asking or new == "Exercises"
            if made:
                yield made


def first_prose(notebook: NotebookNode) -> str:
    """The text of a chapter outside of boxes, up to its exercises."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return DIRECTIVE.sub("", text.split("\n## Exercises")[0])


def deck(number: int, session: Session, notebooks: list[NotebookNode], titles: Mapping[str, str]) -> str:
    """One session's page."""
    listed = "".join(f"<li>{html.escape(titles[chapter.name])}</li>" for chapter in session.chapters)
    goal = f"<p>{html.escape(session.goal)}</p><p><em>Needs:</em> {html.escape(session.before)}.</p>"
    first = slide("", f"<h1>{number}. {html.escape(session.title)}</h1>{goal}<ul>{listed}</ul>", "first")
    made = [first, *(each for notebook in notebooks for each in chapter_slides(notebook, titles))]
    template = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(f"{number}. {session.title}"), slides="\n".join(made), mathjax=MATHJAX)


def write(root: pathlib.Path, profile: str) -> pathlib.Path:
    """All decks, in ``build/slides``.

    Raises:
        BuildError: when a chapter has not been executed, or a sound is missing.
    """
    folder, built, titles = root / "build" / "slides", root / "build" / profile, page_titles(root)
    pages = {}
    for number, session in enumerate(sessions(root, SESSIONS), start=1):
        paths = [built / "notebooks" / f"{chapter.name}.ipynb" for chapter in session.chapters]
        for path in paths:
            if not path.is_file():
                raise BuildError(f"{path.stem} has not been executed; first: make book PROFILE={profile}")
        notebooks = [nbformat.read(path, as_version=4) for path in paths]
        pages[f"session_{number}.html"] = deck(number, session, notebooks, titles)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "audio").mkdir(parents=True)
    for name, text in pages.items():
        for sound in set(re.findall(r'src="audio/([^"]+)"', text)):
            if not (built / "audio" / sound).is_file():
                raise BuildError(f"{name}: there is no sound {built / 'audio' / sound}")
            shutil.copy(built / "audio" / sound, folder / "audio")
        (folder / name).write_text(text, encoding="utf-8")
    package = pathlib.Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    shutil.copy(package / "static" / "mathjax" / MATHJAX, folder)
    return folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a deck of each session from the executed chapters.")
    parser.add_argument("--profile", default="quick", help="smoke, quick (default) or full")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    try:
        folder = write(options.root.resolve(), options.profile)
    except BuildError as error:
        print(f"slides: {error}", file=sys.stderr)
        return 1
    print(f"The decks are {folder / 'session_1.html'} to session_{SESSIONS}.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
