"""The chapters and the code point at each other: every file, chapter and equation that one names is there."""

import ast
import collections
import fnmatch
import re

import pytest

from chapter_dependencies import plain_python, read_chapters

CODE = "Code explained here."


@pytest.fixture(scope="module")
def chapters(root):
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((root / "notebooks").glob("[0-9]*.md"))}


@pytest.fixture(scope="module")
def pages(root):
    return [path.read_text(encoding="utf-8") for path in sorted((root / "book").glob("*.md"))]


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
        (path, chapter)
        for path, text in library.items()
        for chapter in re.findall(r"notebooks/(\d\d[a-z]?_\w+)\.md", text)
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
        cell = re.search(r":tags: \[parameters(?:, hide-input)?\]\n\n(.*?)```", text, flags=re.DOTALL)
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


def test_every_exercise_has_a_solution(chapters):
    for name, text in chapters.items():
        exercises = re.findall(r"```+{exercise}\n:label: ([\w-]+)", text)
        solutions = re.findall(r"```+{solution} ([\w-]+)", text)
        assert sorted(exercises) == sorted(solutions), name


def test_every_file_that_a_chapter_explains_names_it_back(root, chapters, library):
    for name, text in chapters.items():
        explained = re.search(rf"\*\*{re.escape(CODE)}\*\*(.*?)\n\n", text, flags=re.DOTALL)[1]
        paths = [path for path in re.findall(r"`(ast_lib/[\w/.]+)`", explained) if path.endswith(".py")]
        assert [path for path in paths if f"notebooks/{name}.md" not in library[path]] == [], name


def definitions(tree):
    """Name and node of every function and class of a module, and of the methods of its classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef):
                    yield inner.name, inner


def names_in(tree):
    """Every identifier that a piece of Python mentions."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str) and not isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield from value.split(".")


def test_every_public_function_is_reached_from_a_chapter(root, chapters, library):
    """By name: from the code and the backticks of the chapters, through whatever of the library those mention.

    ``python -m ast_lib`` in a chapter reaches the command.
    """
    trees = {path: ast.parse(text) for path, text in library.items()}
    bodies, reached = collections.defaultdict(set), set()
    for tree in trees.values():
        for node in tree.body:  # constants, such as a dictionary of functions
            if isinstance(node, ast.Assign):
                for name in names_in(ast.Tuple(node.targets)):
                    bodies[name] |= set(names_in(node.value))
        for name, node in definitions(tree):
            # A class is not its methods: each of them is reached by its own name.
            parts = [part for part in node.body if not isinstance(part, ast.FunctionDef)] + node.decorator_list
            parts = parts if isinstance(node, ast.ClassDef) else [node]
            bodies[name] |= {found for part in parts for found in names_in(part)}
            if isinstance(node, ast.ClassDef):
                special = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name[:2] == "__"]
                bodies[name] |= {found for part in special for found in names_in(part)} | {"forward"}
    for text in chapters.values():
        for cell in re.findall(r"```{code-cell} ipython3\n(?:---\n.*?\n---\n|:.*?\n)*(.*?)```", text, flags=re.DOTALL):
            reached |= set(names_in(ast.parse(plain_python(cell))))
        reached |= {word for quoted in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", quoted)}
        reached |= {"main", "parser"} if "python -m ast_lib" in text else set()
    waiting = list(reached)
    while waiting:
        fresh = bodies.get(waiting.pop(), set()) - reached
        reached |= fresh
        waiting += fresh
    public = [
        f"{path}: {name}"
        for path, tree in trees.items()
        for name, _ in definitions(tree)
        if not name.startswith("_") and name not in reached
    ]
    assert not public, f"no chapter reaches {sorted(public)}"


def test_every_chapter_has_the_parts_of_a_chapter(chapters):
    """Objectives, prerequisites, a picture, something checked and to change, what it bought before the exercises."""
    plumbing = {"profile", "variants", "output", "weights", "name", "resume", "published_weights"}
    for name, text in chapters.items():
        cells = re.findall(r"```{code-cell} ipython3\n(.*?)```", text, flags=re.DOTALL)
        parameters = set(re.findall(r"^(\w+) = ", cells[0], flags=re.MULTILINE))
        assert "**Objectives.**" in text and "**Prerequisites.**" in text, name
        assert any("    alt: " in cell for cell in cells), f"{name}: no figure"
        assert "```{math}" not in text or any("assert" in cell for cell in cells), f"{name}: nothing is checked"
        assert parameters - plumbing, f"{name}: no parameter to experiment with"
        bought, exercises = text.find("\n## What this bought\n"), text.find("\n## Exercises\n")
        assert 0 < bought < exercises, f"{name}: what this bought does not stand before the exercises"
        asked = re.findall(r"```+{exercise}\n(.*?)```", text[exercises:], flags=re.DOTALL)
        assert any(re.search(r"\b[Rr]un\b|make chapter", each) for each in asked), (
            f"{name}: no exercise is an experiment"
        )


def test_every_sound_is_the_product_of_one_chapter(root):
    """Chapters run side by side: what each writes into the folder of sounds is known by its name."""
    chapters, found = read_chapters(root), 0
    for name, chapter in chapters.items():
        for sound in re.findall(r'folder / "audio"(?:,| /) f?"(\w+)', "\n".join(chapter.code)):
            found += 1
            owners = [
                other
                for other, one in chapters.items()
                if any(fnmatch.fnmatch(f"audio/{sound}_0", pattern) for pattern in one.products)
            ]
            assert owners == [name], sound
    assert found > 10


def test_every_source_is_in_the_bibliography_and_cited(root, chapters, pages):
    keys = re.findall(r"^@\w+\{([^,]+),", (root / "book" / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    text = "\n".join([*chapters.values(), *pages])
    cited = {key.strip() for found in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in found.split(",")}
    assert len(keys) == len(set(keys))
    assert sorted(set(keys) ^ cited) == []


def test_every_chapter_is_a_page(root, chapters):
    from build_site import pages

    listed = [page for page in pages((root / "_toc.yml").read_text()) if page.startswith("notebooks/")]
    assert listed == [f"notebooks/{name}" for name in sorted(chapters)]


def test_every_term_of_the_glossary_is_in_order_and_says_where_to_read_on(root):
    text = (root / "book" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^([^\s#`].*)\n  \S", text, flags=re.MULTILINE)
    assert len(terms) > 30 and terms == sorted(terms, key=str.lower)


def test_the_published_table_stands_once(root, chapters, pages):
    """Chapters read it from its file, so that no page can hold another number."""
    table = (root / "results" / "table1_published.csv").read_text(encoding="utf-8")
    assert len(table.splitlines()) == 17
    texts = {**chapters, **dict(enumerate(pages))}
    assert [name for name, text in texts.items() if re.search(r"1\.7578|1\.8257|141\.1462|210\.5134", text)] == []


def test_figures_that_move_stand_in_eight_chapters(chapters):
    """Their states are in the page; a widget would need a kernel."""
    moving = [name for name, text in chapters.items() if "live.figure(" in text]
    assert len(moving) >= 8
    assert [name for name, text in chapters.items() if "ipywidgets" in text] == []
