"""The chapters and the code point at each other: every file, chapter and equation that one names is there."""

import re

import pytest

CODE = "Code explained here."


@pytest.fixture(scope="module")
def chapters(root):
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((root / "notebooks").glob("[0-9]*.md"))}


@pytest.fixture(scope="module")
def library(root):
    paths = [*(root / "ast_lib").rglob("*.py")]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


def test_every_file_that_a_chapter_explains_exists(root, chapters):
    named = {name: re.findall(r"`((?:ast_lib|book|tools)/[\w/.]+)`", text) for name, text in chapters.items()}
    assert all(named.values())
    assert [(name, path) for name, paths in named.items() for path in paths if not (root / path).is_file()] == []


def test_every_chapter_says_which_code_it_explains(chapters):
    assert [name for name, text in chapters.items() if CODE not in text] == []


def test_every_chapter_that_the_library_names_exists(chapters, library):
    named = {
        (path, chapter) for path, text in library.items() for chapter in re.findall(r"notebooks/(\d\d_\w+)\.md", text)
    }
    assert sorted(pair for pair in named if pair[1] not in chapters) == []


def test_every_equation_that_the_library_cites_exists(root, chapters, library):
    pages = [*chapters.values(), *(path.read_text(encoding="utf-8") for path in (root / "book").glob("*.md"))]
    labels = {label for text in pages for label in re.findall(r"^:label: ([\w-]+)$", text, flags=re.MULTILINE)}
    cited = {(path, label) for path, text in library.items() for label in re.findall(r"equations? ``([\w-]+)``", text)}
    assert cited and sorted(pair for pair in cited if pair[1] not in labels) == []


def test_parameters_are_one_a_line_with_a_comment_and_used(chapters):
    """Each parameter has its meaning beside it, and one that no cell reads would be a promise not kept."""
    for name, text in chapters.items():
        cell = re.search(r":tags: \[parameters\]\n\n(.*?)```", text, flags=re.DOTALL)
        assert cell, name
        rest = text[cell.end() :]
        for line in cell[1].strip().splitlines():
            match = re.fullmatch(r"(\w+) = [^=]*?  # \S[^=]*", line)
            assert match, f"{name}: {line!r} is not 'name = value  # meaning' with one ="
            assert re.search(rf"\b{match[1]}\b", "".join(re.findall(r"```{code-cell}.*?```", rest, flags=re.DOTALL))), (
                f"{name}: no cell uses {match[1]}"
            )


def test_every_figure_has_a_text_alternative(chapters):
    """A cell that draws ends in plt.show(); its header says what there is to see."""
    for name, text in chapters.items():
        for cell in re.findall(r"```{code-cell} ipython3\n(.*?)```", text, flags=re.DOTALL):
            if re.search(r"^plt\.show\(\)", cell, flags=re.MULTILINE):
                assert re.search(r"^    alt: \S.{30,}", cell, flags=re.MULTILINE), f"{name}: {cell[:200]}"


def test_exercises_come_in_threes_with_solutions(chapters):
    for name, text in chapters.items():
        exercises = re.findall(r"```+{exercise}\n:label: ([\w-]+)", text)
        solutions = re.findall(r"```+{solution} ([\w-]+)", text)
        assert len(exercises) >= 3 and sorted(exercises) == sorted(solutions), name
