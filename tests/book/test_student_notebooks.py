"""Notebooks and packs for a class: students see no solution too many, plain Jupyter shows the rest, and packs run."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import nbformat
import pytest
from sample import CHAPTER

import packs
from chapter_dependencies import BuildError, read_chapters
from exercises import coding_exercises
from student_notebooks import class_notebook, guarded, page_titles, plain, solution_texts, split_solutions

TITLES = {"06_margin": "A margin", "notation": "Notation"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("```{math}\n:label: a-b\n\nx = 1\n```", "$$\nx = 1\n\\tag{a-b}\n$$"),
        ("```{math}\nx\n```", "$$\nx\n$$"),
        ("see {eq}`a-b` and {doc}`/book/notation`", "see (a-b) and *Notation*"),
        ("after {cite:t}`oord2018`, {doc}`06_margin`", "after [oord2018], *A margin*"),
        (r"$\E x \Rightarrow \R^n$", r"$\mathbb{E} x \Rightarrow \mathbb{R}^n$"),
        (":::{admonition} The paper\n:class: note\n\nSays.\n:::", "> **The paper**\n>\n> Says."),
        (":::{admonition} A\n```{math}\nx\n```\n:::", "> **A**\n>\n> $$\n> x\n> $$"),
        (
            ":::{admonition} Proof: it is\n:class: dropdown\n\nSo.\n:::",
            "<details><summary><b>Proof: it is</b></summary>\n\nSo.\n\n</details>",
        ),
        (
            ":::{quiz} Why?\n:label: quiz-why\n- [x] So :: yes.\n- [ ] No :: no.\n:::",
            "**Why?**\n\n- (a) So\n- (b) No\n\n<details><summary>Answers</summary>\n\n"
            "- (a) **Right:** yes.\n- (b) wrong: no.\n\n</details>",
        ),
        ("```python\n1\n```", "```python\n1\n```"),
    ],
)
def test_directives_and_roles_become_markdown(text, shown):
    assert plain(text, TITLES) == shown


def test_solutions_are_taken_out_by_label():
    text = "A\n\n```{exercise}\n:label: e\n\nWhy?\n```\n\n```{solution} e\n:class: dropdown\n\nSo.\n```\n\nB"
    rest, solutions = split_solutions(text)
    assert {label: match["body"] for label, match in solutions.items()} == {"e": "So.\n"}
    assert "So." not in rest and "Why?" in rest and rest.startswith("A") and rest.endswith("B")


def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_every_chapter_keeps_its_exercises_and_loses_its_solutions(root):
    titles = page_titles(root)
    for name, chapter in read_chapters(root).items():
        notebook, everything = class_notebook(chapter, titles), solution_texts(chapter, titles, instructor=True)
        coding = coding_exercises(chapter.notebook, name)
        nbformat.validate(notebook)
        text = prose(notebook)
        assert len(re.findall(r"^### Exercise \d", text, flags=re.MULTILINE)) == len(everything), name
        assert text.count("*Your answer:*") == len(everything) - len(coding)
        assert not re.search(r"\{[\w:-]+\}`|^(`{3,}|:{3,})\{", text, flags=re.MULTILINE), name
        assert not any(solution.strip() in text for solution in everything.values()), name
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.source]
        own = {index for each in coding for index in (each.code, each.check)}
        kept = [
            cell.source
            for index, cell in enumerate(chapter.notebook.cells)
            if cell.cell_type == "code" and index not in own
        ]
        assert [source for source in code if source in kept] == kept, name
        assert len(code) == len(kept) + len(own) and "SOLUTION" not in "".join(code)


def test_every_chapter_has_all_solutions_for_instructors(root):
    titles = page_titles(root)
    for name, chapter in read_chapters(root).items():
        notebook, everything = class_notebook(chapter, titles, instructor=True), solution_texts(chapter, titles, True)
        nbformat.validate(notebook)
        assert all(solution in prose(notebook) for solution in everything.values()), name
        assert "NotImplementedError(" not in "".join(cell.source for cell in notebook.cells), name
        printed = solution_texts(chapter, titles, instructor=False)
        hidden = {each.label for each in coding_exercises(chapter.notebook, name) if each.instructor}
        assert everything.keys() - printed.keys() == hidden, name


def test_an_exercise_without_a_solution_is_named(root):
    chapter = read_chapters(root)["06_margin"]
    cell = next(cell for cell in chapter.notebook.cells if "{solution}" in cell.source)
    cell.source = split_solutions(cell.source)[0]
    with pytest.raises(BuildError, match="06_margin: .+ is an exercise without a solution"):
        class_notebook(chapter, page_titles(root))


def test_a_check_over_several_lines_of_text_is_refused():
    with pytest.raises(BuildError, match="code-a: the check holds a text over several lines"):
        guarded('assert f() == """\n1"""', "code-a")


@pytest.fixture
def repository(root, tmp_path):
    """The sample chapter, and what a pack takes from a repository."""
    for folder in ("notebooks", "book", "ast_lib", "weights", "results", "tools"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notebooks" / "02_chord.md").write_text(CHAPTER)
    (tmp_path / "ast_lib" / "__init__.py").touch()
    (tmp_path / "weights" / "full.safetensors").touch()
    for name in packs.COPIED:
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


def unpacked(repository: pathlib.Path, kind: str, *chapters: str) -> pathlib.Path:
    """A pack in a folder of its own whose name has a space."""
    assert packs.main([kind, *chapters, "--root", str(repository)]) == 0
    place = repository / "an unpacked archive"
    with zipfile.ZipFile(repository / "build" / f"{kind}.zip") as archive:
        archive.extractall(place)
    return place / kind


def executed(pack: pathlib.Path, name: str) -> nbformat.NotebookNode:
    """A notebook of a pack, run from top to bottom as a student does."""
    path = pack / "chapters" / f"{name}.ipynb"
    command = [sys.executable, "-c", "from nbclient.cli import main; main()", "--inplace", str(path)]
    environment = os.environ | {"PYTHONPATH": str(pack)}
    subprocess.run(command, cwd=pack, env=environment, check=True, timeout=600)
    return nbformat.read(path, as_version=4)


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(
        out.text for cell in notebook.cells for out in cell.get("outputs", ()) if out.output_type == "stream"
    )


def started(pack: pathlib.Path) -> subprocess.CompletedProcess:
    command = ["bash", str(pack / "start.sh"), "check"]
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_students_pack_runs_on_its_own(repository):
    pack = unpacked(repository, "student")
    assert started(pack).stdout.endswith("Everything is there for 1 notebooks.\n")
    assert "bash start.sh" in (pack / "README.md").read_text() and (pack / "audio").is_symlink()
    text = "".join(path.read_text(errors="replace") for path in pack.rglob("*") if path.is_file())
    assert "secret" not in text and "half = angle / 2" in (pack / "solutions" / "02_chord.md").read_text()
    assert "half = angle / 2" not in (pack / "chapters" / "02_chord.ipynb").read_text()
    assert printed(executed(pack, "02_chord")) == "code-chord: not yet solved\ncode-arc: not yet solved\n"


def test_what_a_student_writes_is_checked(repository):
    pack = unpacked(repository, "student")
    path = pack / "chapters" / "02_chord.ipynb"
    notebook = nbformat.read(path, as_version=4)
    blanks = [
        cell for cell in notebook.cells if "NotImplementedError(" in cell.source and cell.source.startswith("def")
    ]
    blanks[0].source = blanks[0].source.replace(
        'raise NotImplementedError("your code")', "return 2 * radius * math.sin(angle / 2)"
    )
    nbformat.write(notebook, path)
    assert printed(executed(pack, "02_chord")) == "code-chord: solved\ncode-arc: not yet solved\n"
    blanks[1].source = blanks[1].source.replace('raise NotImplementedError("your code")', "return radius")
    nbformat.write(notebook, path)
    with pytest.raises(subprocess.CalledProcessError):
        executed(pack, "02_chord")


def test_an_instructors_pack_has_the_rest(repository):
    pack = unpacked(repository, "instructor")
    assert "secret_product" in (pack / "solutions" / "02_chord.md").read_text()
    notebook = executed(pack, "02_chord")
    assert "Expected wrong answer" in prose(notebook) and printed(notebook) == ""


def test_a_pack_says_what_it_lacks(repository):
    text = CHAPTER.replace("import math\n", "import math\nimport ast_lib.nowhere\n")
    (repository / "notebooks" / "02_chord.md").write_text(text)
    failed = started(unpacked(repository, "student"))
    assert failed.returncode == 1 and failed.stderr.strip().endswith(": ast_lib.nowhere")


def test_the_command_names_a_chapter_that_is_not_there(repository, capsys):
    assert packs.main(["student", "03_arc", "--root", str(repository)]) == 1
    assert "packs: chapter: found '03_arc', accepted are 02_chord" in capsys.readouterr().err


def test_a_real_chapter_of_the_students_pack_runs_from_top_to_bottom(root, tmp_path):
    """Into a folder of its own, so that no pack of the user is touched."""
    chapter = read_chapters(root)["06_margin"]
    packs.write_pack(root, [chapter], "student", tmp_path / "student")
    path = tmp_path / "student" / "chapters" / "06_margin.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace('profile = \\"quick\\"', 'profile = \\"smoke\\"'))
    notebook = executed(tmp_path / "student", "06_margin")
    coding = coding_exercises(chapter.notebook, "06_margin")
    assert [f"{each.label}: not yet solved" in printed(notebook) for each in coding] == [True] * len(coding)
    assert (tmp_path / "student" / "build" / "smoke").is_dir()
