"""Exercises: five or more a chapter, of every kind; checks fail on blanks, and hidden solutions stay hidden."""

import ast
import collections
import json
import re
import shutil

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup
from chromium import browser
from sample import CHAPTER

import build_site
from chapter_dependencies import BuildError, plain_python, read_chapters
from exercises import (
    blank,
    check_quizzes,
    coding_exercises,
    context,
    defined,
    directives,
    option,
    published,
    solution,
    solved,
    used,
)

LEAST = {"quiz": 1, "derivation": 1, "experiment": 1, "coding": 2}
LONGEST = 12  # lines of a solution
EXPERIMENT = (
    r"\bpredict|\bwrite (?:\w+ ){0,3}down\b|\bguess|\bexpect\b",
    r"\b(?:run|cells?|make chapter|measure|change|listen|train)\b",
)


def notebook(text: str = CHAPTER) -> nbformat.NotebookNode:
    return jupytext.reads(text, fmt="md:myst")


def kinds(chapter: nbformat.NotebookNode) -> collections.Counter:
    """How many exercises of each kind a chapter has; an experiment wants a prediction first."""
    counts = collections.Counter()
    for cell in chapter.cells:
        for match in directives(cell.source, "exercise", "quiz") if cell.cell_type == "markdown" else ():
            if match["name"] == "quiz":
                counts["quiz"] += 1
            elif option(match, "label").startswith("code-"):
                counts["coding"] += 1
            else:
                experiment = all(re.search(pattern, match["body"], flags=re.IGNORECASE) for pattern in EXPERIMENT)
                counts["experiment" if experiment else "derivation"] += 1
    return counts


def outcome(before: str, *sources: str) -> Exception | None:
    """What some Python raises after what stands before it."""
    names: dict = {"__name__": "exercise"}
    exec(compile(before, "<context>", "exec"), names)
    try:
        for source in sources:
            exec(compile(source, "<exercise>", "exec"), names)
    except Exception as error:
        return error
    return None


def test_every_chapter_has_exercises_of_every_kind(root):
    lacking = {}
    for name, chapter in read_chapters(root).items():
        counts = kinds(chapter.notebook)
        few = [f"{counts[kind]} {kind}, not {least}" for kind, least in LEAST.items() if counts[kind] < least]
        if few or counts.total() < 5:
            lacking[name] = ", ".join(few) or f"{counts.total()} exercises, not 5"
    assert lacking == {}


def test_every_check_fails_on_the_blank_and_passes_on_the_solution(root):
    """With no more of the chapter than they need. A blank raises only where it is called."""
    for name, chapter in read_chapters(root).items():
        for each in coding_exercises(chapter.notebook, name):
            where = f"{name}: {each.label}"
            code, check = (chapter.notebook.cells[index].source for index in (each.code, each.check))
            before = context(chapter.notebook, code, check)
            assert outcome(before, solved(code), check) is None, where
            assert outcome(before, blank(code)) is None, where
            assert isinstance(outcome(before, blank(code), check), NotImplementedError), where
            nothing = blank(code).replace('raise NotImplementedError("your code")', "return None")
            assert outcome(before, nothing, check) is not None, f"{where}: a function that returns nothing passes"


def test_coding_exercises_are_short_and_end_in_themselves(root):
    for name, chapter in read_chapters(root).items():
        cells, found = chapter.notebook.cells, coding_exercises(chapter.notebook, name)
        assert {each.instructor for each in found} in ({True, False}, set()), f"{name}: one solution is printed"
        own = {index for each in found for index in (each.code, each.check)}
        for each in found:
            where = f"{name}: {each.label}"
            code, check = (ast.parse(cells[index].source) for index in (each.code, each.check))
            assert len(solution(cells[each.code].source).splitlines()) <= LONGEST, where
            assertions = sum(isinstance(node, ast.Assert) for node in ast.walk(check))
            assert 2 <= assertions <= 5, f"{where}: {assertions} assertions"
            names = defined(check) | {code.body[-1].name}
            for index, cell in enumerate(cells):
                if index > each.check and index not in own and cell.cell_type == "code":
                    later = names & used(ast.parse(plain_python(cell.source)))
                    assert not later, f"{where}: a later cell uses {later}"


def test_every_quiz_is_whole(root):
    labels = []
    for path in [*sorted((root / "notebooks").glob("*.md")), *sorted((root / "book").glob("*.md"))]:
        labels += check_quizzes(path, path.name)
    assert len(labels) == len(set(labels))


QUIZ = ":::{quiz} Why?\n:label: quiz-why\n- [x] So :: yes.\n- [ ] Not so :: no.\n:::\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[x]", "[ ]", "found 2 answers, 0 of them right; accepted are two or more, one right"),
        ("[ ]", "[x]", "found 2 answers, 2 of them right"),
        ("- [ ] Not so :: no.\n", "", "found 1 answers, 1 of them right"),
        (":: no.", "", "the answer 'Not so' has no reason; accepted is 'answer :: reason'"),
        (":label: quiz-why\n", "", "found the label '', accepted is one such as quiz-short-name"),
        ("quiz-why", "why", "found the label 'why'"),
        (" Why?", "", "found no question after {quiz}"),
        ("- [x] So", "* [x] So", "found the line '* [x] So :: yes.', accepted are '- [ ] answer :: reason'"),
    ],
)
def test_a_quiz_that_is_wrong_is_named_with_file_and_line(tmp_path, old, new, message):
    path = tmp_path / "a.md"
    path.write_text(f"# A\n\n{QUIZ}")
    assert check_quizzes(path, "a.md") == ["quiz-why"]
    path.write_text(f"# A\n\n{QUIZ.replace(old, new)}")
    with pytest.raises(BuildError, match=f"^a.md, line 3: quiz: {re.escape(message)}"):
        check_quizzes(path, "a.md")


def test_two_quizzes_of_a_page_have_two_labels(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(QUIZ + "\n" + QUIZ)
    with pytest.raises(BuildError, match="a.md, line 7: quiz: the label quiz-why is that of another"):
        check_quizzes(path, "a.md")


def test_parts_of_a_coding_cell():
    first, second = coding_exercises(notebook(), "02_chord")
    assert (first.label, first.instructor, second.label, second.instructor) == ("code-chord", False, "code-arc", True)
    code = notebook().cells[first.code].source
    assert solution(code) == "half = angle / 2\nreturn 2 * radius * math.sin(half)"
    assert blank(code).splitlines()[1:] == [
        '    """Length of the chord that an angle (rad) spans."""',
        '    raise NotImplementedError("your code")',
    ]
    assert "###" not in solved(code) and "math.sin" in solved(code)
    assert kinds(notebook()) == {"quiz": 1, "derivation": 1, "coding": 2}
    assert context(notebook(), code) == "import math"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    ### END SOLUTION\n", "", "code-chord: found 0 regions between ### BEGIN SOLUTION and ### END SOLUTION"),
        ('    """Length of the chord', '    # Length """', "code-chord: accepted is one function with a docstring"),
        (
            ":tags: [exercise-code]",
            ":tags: []",
            "code-chord: a solution stands in a cell that is not tagged exercise-code",
        ),
        (
            ":tags: [exercise-check]",
            ":tags: []",
            "code-chord: found {solution} code-chord before its exercise, cell and",
        ),
        (":label: code-chord", ":label: chord", "coding cell: a cell tagged exercise-code stands after no {exercise}"),
        ("{solution} code-chord", "{note} code-chord", "code-chord: found {exercise} code-arc before its {solution}"),
        ("code-arc\n:class: instructor\n\nThe", "code-arc\n\nThe", "code-arc: the class instructor is on one of"),
        ("```{solution} code-arc", "```{note} code-arc", "code-arc: there is no {solution} after it"),
    ],
)
def test_a_coding_exercise_that_is_wrong_is_named(old, new, message):
    text = CHAPTER.replace(old, new, 1)
    assert text != CHAPTER
    with pytest.raises(BuildError, match=f"^02_chord: {re.escape(message)}"):
        coding_exercises(notebook(text), "02_chord")


def test_the_site_has_blanks_and_the_printed_solution_only():
    executed = notebook()
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="secret of the solution")]
    text = nbformat.writes(published(executed, "02_chord"))
    assert "secret_product" not in text and "The secret idea" not in text and "SOLUTION" not in text
    assert text.count("raise NotImplementedError") == 2
    shown = {cell.source for cell in published(executed, "02_chord").cells}
    (printed,) = [source for source in shown if "{solution} code-chord" in source]
    body = "Use half of the angle.\n\n```python\nhalf = angle / 2\nreturn 2 * radius * math.sin(half)\n```\n````"
    assert printed.count("````{solution} code-chord\n:class: dropdown\n\n" + body) == 1
    assert text.count("secret of the solution") == 2  # of the cells that are no exercise


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """The sample chapter as a page."""
    place = tmp_path_factory.mktemp("site")
    (place / "notebooks").mkdir()
    (place / "book").mkdir()
    (place / "notebooks" / "02_chord.md").write_text(CHAPTER)
    intro = "# Intro\n\n{cite}`vaswani2017attention`\n\n" + QUIZ + "\n```{bibliography}\n```\n"
    (place / "book" / "intro.md").write_text(intro)
    (place / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/02_chord\n")
    (place / "requirements.lock").touch()
    shutil.copy(root / "_config.yml", place)
    shutil.copy(root / "book" / "references.bib", place / "book")
    shutil.copytree(root / "book" / "_static", place / "book" / "_static")
    executed = place / "build" / "quick" / "notebooks"
    executed.mkdir(parents=True)
    nbformat.write(notebook(), executed / "02_chord.ipynb")
    assert build_site.main(["--root", str(place)]) == 0
    return place


def test_a_page_with_exercises_hides_what_it_should(site):
    html = site / "build" / "quick" / "html"
    for path in html.rglob("*"):
        if path.suffix in (".html", ".ipynb", ".js", ".md") and "vendor" not in path.parts:
            assert "secret_product" not in path.read_text(errors="replace"), path
    page = BeautifulSoup((html / "notebooks" / "02_chord.html").read_bytes(), "html.parser")
    assert [box["id"] for box in page.select("div.exercise")] == ["chord-sine", "code-chord", "code-arc"]
    assert len(page.select("div.solution")) == 2
    assert page.find("div", id="quiz-chord") is None and page.find("fieldset", id="quiz-chord")


def test_a_quiz_can_be_read_without_scripts(site):
    page = BeautifulSoup((site / "build/quick/html/notebooks/02_chord.html").read_bytes(), "html.parser")
    quiz = page.find("fieldset", id="quiz-chord")
    assert quiz.legend.get_text() == r"How long is the chord of half a circle of radius \(r\)?"
    assert len(quiz.find_all("label")) == len(quiz.select("label > input[type=radio][name=quiz-chord]")) == 3
    assert [bool(button.get("data-right") is not None) for button in quiz.find_all("input")] == [False, True, False]
    assert quiz.button.has_attr("hidden") and quiz.find(role="status").get_text() == ""
    reasons = [item.get_text() for item in quiz.select("details li")]
    assert "Right." in reasons[1] and r"\theta = \pi" in reasons[1] and "a sixth of the circle" in reasons[0]
    assert not [tag.name for tag in quiz.find_all(True) if any(name.startswith("on") for name in tag.attrs)]


def test_a_quiz_is_answered_with_the_keyboard(site):
    with browser() as page:
        page.open(site / "build/quick/html/notebooks/02_chord.html", 360, 800)
        said = "document.querySelector('#quiz-chord .quiz-feedback').innerText"
        shown = "getComputedStyle(document.querySelector('#quiz-chord {}')).display"
        page.run("document.querySelector('#quiz-chord input').focus()")
        page.press("Enter")
        assert page.run(said) == "Choose an answer first."
        page.press(" ", "Tab")
        while page.run("document.activeElement.tagName") != "BUTTON":  # formulas can have the focus, too
            assert page.run("document.activeElement.closest('#quiz-chord') !== null")
            page.press("Tab")
        page.press("Enter")
        assert "Wrong." in page.run(said) and "a sixth of the circle" in page.run(said)
        page.run("document.querySelector('#quiz-chord input:checked').focus()")
        page.press("ArrowDown", "Enter")
        assert page.run(said).startswith("Right.") and "0 of 1 right at the first try" in page.run(said)
        assert page.run("document.documentElement.scrollWidth") == 360
        assert page.run(shown.format(".quiz-printed")) == "none"
        page.media("print")
        assert page.run(shown.format(".quiz-printed")) == "block" and page.run(shown.format("button")) == "none"
        assert page.errors == []
        assert [name for name in page.requests if not name.startswith("file:")] == []


def test_a_quiz_that_is_wrong_stops_the_build(site, capfd):
    path = site / "notebooks" / "02_chord.md"
    path.write_text(CHAPTER.replace("- [x]", "- [ ]"))
    try:
        shutil.rmtree(site / "build" / "quick" / "html")
        capfd.readouterr()
        assert build_site.main(["--root", str(site)]) == 1
        line = CHAPTER.count("\n", 0, CHAPTER.index(":::{quiz}")) + 1
        assert f"notebooks/02_chord.md, line {line}: quiz: found 3 answers, 0 of them right" in capfd.readouterr().err
    finally:
        path.write_text(CHAPTER)


@pytest.mark.book
def test_no_page_of_the_book_has_a_hidden_solution(root, book):
    for name, chapter in read_chapters(root).items():
        made = [book / "notebooks" / f"{name}.html", book / "_sources" / "notebooks" / f"{name}.ipynb"]
        shown = [BeautifulSoup(made[0].read_bytes(), "html.parser").get_text(), made[1].read_text(encoding="utf-8")]
        for each in coding_exercises(chapter.notebook, name):
            lines = solution(chapter.notebook.cells[each.code].source)
            found = [lines in shown[0], json.dumps(lines)[1:-1] in shown[1]]
            assert each.instructor is not any(found), f"{name}: {each.label} is {'shown' if any(found) else 'missing'}"
