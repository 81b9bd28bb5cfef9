"""Notebooks for a class: nothing of a solution is in them, and plain Jupyter can show the rest."""

import re

import nbformat
import pytest

import student_notebooks
from chapter_dependencies import BuildError, read_chapters
from student_notebooks import page_titles, plain, split_solutions, student_notebook

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
        ("```python\n1\n```", "```python\n1\n```"),
    ],
)
def test_directives_and_roles_become_markdown(text, shown):
    assert plain(text, TITLES) == shown


def test_solutions_are_taken_out_by_label():
    text = "A\n\n```{exercise}\n:label: e\n\nWhy?\n```\n\n```{solution} e\n:class: dropdown\n\nSo.\n```\n\nB"
    rest, solutions = split_solutions(text)
    assert solutions == {"e": "So.\n"}
    assert "So." not in rest and "Why?" in rest and rest.startswith("A") and rest.endswith("B")


def test_every_chapter_keeps_its_exercises_and_loses_its_solutions(root):
    titles = page_titles(root)
    for name, chapter in read_chapters(root).items():
        notebook, solutions = student_notebook(chapter, titles)
        nbformat.validate(notebook)
        prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        assert len(re.findall(r"^### Exercise \d", prose, flags=re.MULTILINE)) == len(solutions) == 3, name
        assert prose.count("*Your answer:*") == 3
        assert not re.search(r"\{[\w:-]+\}`|^(`{3,}|:{3,})\{", prose, flags=re.MULTILINE), name
        assert not any(text.strip() in prose for text in solutions.values()), name
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.source]
        assert code == chapter.code, name


def test_an_exercise_without_a_solution_is_named(root):
    chapter = read_chapters(root)["06_margin"]
    cell = next(cell for cell in chapter.notebook.cells if "{solution}" in cell.source)
    cell.source = split_solutions(cell.source)[0]
    with pytest.raises(BuildError, match="06_margin: margin-degrees"):
        student_notebook(chapter, page_titles(root))


def test_the_command_writes_notebooks_and_solutions_apart(root, tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    text = (root / "notebooks" / "06_margin.md").read_text(encoding="utf-8")
    for role in ("05_infonce", "notation"):
        folder = "book" if role == "notation" else "notebooks"
        source = (root / folder / f"{role}.md").read_text(encoding="utf-8")
        (tmp_path / folder / f"{role}.md").write_text(source, encoding="utf-8")
    (tmp_path / "notebooks" / "06_margin.md").write_text(text, encoding="utf-8")
    assert student_notebooks.main(["--root", str(tmp_path), "06_margin"]) == 0
    made = tmp_path / "build" / "student"
    assert sorted(path.name for path in made.rglob("*.*")) == ["06_margin.ipynb", "06_margin.md"]
    assert (made / "solutions" / "06_margin.md").read_text(encoding="utf-8").count("## Exercise") == 3
    assert student_notebooks.main(["--root", str(tmp_path), "07_hsic"]) == 1
    assert "found '07_hsic', accepted are 05_infonce, 06_margin" in capsys.readouterr().err
