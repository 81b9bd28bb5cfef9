"""The build: which chapters execute and why, side by side, parameters, failures, kernels, and the assembled site."""

import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import jupytext
import nbformat
import psutil
import pytest

import build_site
import chapter_dependencies
import execute_chapter
import kernels
from chapter_dependencies import BuildError, input_files, library_files, read_chapters
from execute_chapter import check_parameters, typed_value

CHAPTER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
ast:
  needs: {needs}
---

# {title}

```{{code-cell}} ipython3
:tags: [parameters]
profile = "quick"  # where results go
steps = 5
output = ""
rate = 0.5
names = ["piano"]
published_weights = True
```

```{{code-cell}} ipython3
{code}
```
"""
WRITE = """
import pathlib
folder = pathlib.Path(output or f"build/{{profile}}") / "results"
folder.mkdir(parents=True, exist_ok=True)
(folder / "{name}.json").write_text(f"[{{steps}}]")
print("steps", steps)
"""


def add_chapter(root, name, code, needs=()):
    text = CHAPTER.format(title=name, needs=list(needs), code=code + WRITE.format(name=name))
    (root / "notebooks" / f"{name}.md").write_text(text)


@pytest.fixture
def repository(tmp_path):
    """A small book: 02 uses a.py, which uses b.py; 11 uses c.py inside a function; 15 needs 11."""
    for folder in ("notebooks", "ast_lib", "weights"):
        (tmp_path / folder).mkdir()
    (tmp_path / "requirements.lock").write_text("numpy==2.0\n")
    (tmp_path / "ast_lib" / "__init__.py").write_text("")
    (tmp_path / "ast_lib" / "a.py").write_text("from ast_lib.b import value\n")
    (tmp_path / "ast_lib" / "b.py").write_text("value = 1\n")
    (tmp_path / "ast_lib" / "c.py").write_text("")
    add_chapter(tmp_path, "02_dataset", "from ast_lib import a")
    add_chapter(tmp_path, "11_training", "def late():\n    import ast_lib.c\n")
    add_chapter(tmp_path, "15_listening", "", needs=["11_training"])
    return tmp_path


@pytest.fixture
def build(repository, monkeypatch, capsys):
    """Run the tool on the small book with a stand-in for papermill: (exit code, sorted lines of stdout, stderr)."""

    def run(root, chapter, parameters, target):
        results = target.parent.parent / "results"
        results.mkdir(parents=True, exist_ok=True)
        (results / f"{chapter.name}.json").write_text("[]")
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = nbformat.from_dict(chapter.notebook)
        for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
            cell.outputs = [nbformat.v4.new_output("stream", text=f"output {number}")]
            cell.execution_count = number
        return notebook

    monkeypatch.setattr(execute_chapter, "run", run)

    def call(*arguments):
        code = execute_chapter.main(["--root", str(repository), *arguments])
        captured = capsys.readouterr()
        lines = [line for line in captured.out.splitlines() if not line.endswith("done in 0 s")]
        return code, sorted(lines), captured.err

    return call


UP_TO_DATE = ["02_dataset: up to date", "11_training: up to date", "15_listening: up to date"]


def test_the_first_build_executes_everything_and_the_second_nothing(build):
    assert build() == (
        0,
        [f"{line.split(':')[0]}: runs, because it has not been executed yet" for line in UP_TO_DATE],
        "",
    )
    assert build() == (0, UP_TO_DATE, "")


def test_a_touched_file_executes_nothing(build, repository):
    build()
    for path in [
        *repository.glob("ast_lib/*.py"),
        *repository.glob("notebooks/*.md"),
        repository / "requirements.lock",
    ]:
        os.utime(path, (2_000_000_000, 2_000_000_000))
    assert build()[1] == UP_TO_DATE


def test_a_library_file_executes_only_the_chapters_that_use_it_and_those_that_need_them(build, repository):
    build()
    (repository / "ast_lib" / "b.py").write_text("value = 2\n")
    assert build()[1] == ["02_dataset: runs, because ast_lib/b.py changed", *UP_TO_DATE[1:]]
    (repository / "ast_lib" / "c.py").write_text("x = 1\n")
    assert build()[1] == [
        UP_TO_DATE[0],
        "11_training: runs, because ast_lib/c.py changed",
        "15_listening: runs, because chapter 11_training ran again",
    ]
    assert build()[1] == UP_TO_DATE


def test_a_new_import_inside_the_library_is_followed(build, repository):
    build()
    (repository / "ast_lib" / "a.py").write_text("from . import c\n")
    reason = "ast_lib/a.py changed, ast_lib/c.py is new among its inputs, ast_lib/b.py is no longer among its inputs"
    assert build()[1] == [f"02_dataset: runs, because {reason}", *UP_TO_DATE[1:]]


def test_the_lock_executes_everything(build, repository):
    build()
    (repository / "requirements.lock").write_text("numpy==2.1\n")
    assert all(line.endswith("requirements.lock changed") for line in build()[1][:2])


def test_prose_is_renewed_without_execution_and_keeps_the_outputs(build, repository):
    build()
    source = repository / "notebooks" / "11_training.md"
    source.write_text(source.read_text().replace("# 11_training", "# A better title\n\nAnd a paragraph."))
    assert build()[1] == [UP_TO_DATE[0], "11_training: its prose is renewed, the rest is up to date", UP_TO_DATE[2]]
    executed = nbformat.read(repository / "build/quick/notebooks/11_training.ipynb", as_version=4)
    assert "A better title" in executed.cells[0].source
    assert [cell.outputs[0].text for cell in executed.cells if cell.cell_type == "code"] == ["output 0", "output 1"]
    assert build()[1] == UP_TO_DATE


def test_code_of_a_chapter_executes_it(build, repository):
    build()
    source = repository / "notebooks" / "02_dataset.md"
    source.write_text(source.read_text().replace("steps = 5", "steps = 6"))
    assert build()[1] == ["02_dataset: runs, because notebooks/02_dataset.md (its code) changed", *UP_TO_DATE[1:]]


def test_a_file_that_is_being_written_is_no_product(tmp_path):
    (tmp_path / "audio").mkdir()
    for name in ("sound.wav", ".0f3a.part"):
        (tmp_path / "audio" / name).write_bytes(b"abc")
    assert {name: size for name, (_, size) in execute_chapter.product_times(tmp_path).items()} == {"audio/sound.wav": 3}


def test_a_missing_or_foreign_product_executes_its_chapter(build, repository):
    build()
    product = repository / "build/quick/results/02_dataset.json"
    product.unlink()
    assert build()[1][0] == "02_dataset: runs, because its product results/02_dataset.json is missing"
    product.write_text("[1]")
    assert (
        build()[1][0] == "02_dataset: runs, because its product results/02_dataset.json was changed by something else"
    )
    assert build()[1] == UP_TO_DATE


def test_profiles_are_built_side_by_side(build, repository):
    build()
    assert build("--profile", "smoke")[1][0] == "02_dataset: runs, because it has not been executed yet"
    assert build()[1] == UP_TO_DATE


def test_a_parameter_executes_and_its_absence_executes_again(build):
    build()
    assert build("02_dataset", "-p", "steps", "7")[1] == [
        "02_dataset: runs, because parameter steps is 7, was its default"
    ]
    assert build("02_dataset", "-p", "steps", "7")[1] == ["02_dataset: up to date"]
    assert build()[1][0] == "02_dataset: runs, because parameter steps is its default, was 7"


def test_a_variant_with_its_own_folder_leaves_the_book_alone(build, repository):
    build()
    given = ("02_dataset", "-p", "steps", "7", "-p", "output", "build/variant")
    assert build(*given)[1] == ["02_dataset: runs, because it has not been executed yet"]
    assert (repository / "build" / "variant" / "notebooks" / "02_dataset.ipynb").is_file()
    assert build(*given)[1] == ["02_dataset: up to date"]
    assert build()[1] == UP_TO_DATE


def test_a_profile_given_as_a_parameter_is_the_profile(build, repository):
    build("15_listening", "-p", "profile", "smoke")
    assert sorted(path.name for path in (repository / "build/smoke/notebooks").iterdir()) == [
        "11_training.ipynb",
        "15_listening.ipynb",
    ]
    assert not (repository / "build" / "quick").exists()


def test_a_chapter_that_takes_the_published_weights_does_not_wait_for_the_trained_ones(build, repository):
    path = repository / "notebooks" / "15_listening.md"
    path.write_text(path.read_text().replace("  needs:", "  unless_published: [11_training]\n  needs:"))

    def executed(*arguments):
        return [line.split(":")[0] for line in build("15_listening", *arguments)[1]]

    assert executed() == ["11_training", "15_listening"]  # there are none
    (repository / "weights" / "full.safetensors").touch()
    assert executed() == ["15_listening"]
    assert executed("--profile", "smoke") == ["11_training", "15_listening"]
    assert executed("-p", "published_weights", "false") == ["11_training", "15_listening"]
    path.write_text(path.read_text().replace("published: [11_training]", "published: [02_dataset]"))
    with pytest.raises(BuildError, match="'ast: unless_published' is 02_dataset; accepted are names that it needs"):
        read_chapters(repository)


def test_one_chapter_executes_with_those_it_needs(build):
    assert [line.split(":")[0] for line in build("15_listening")[1]] == ["11_training", "15_listening"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["11_training", "-p", "step", "7"],
            "no parameter 'step', accepted are profile, steps, output, rate, names, published_weights",
        ),
        (["11_training", "-p", "steps", "many"], "parameter steps is 'many' (str), accepted is int"),
        (["11_training", "-p", "steps", "1.5"], "parameter steps is 1.5 (float), accepted is int"),
        (["11_training", "-p", "steps", "true"], "parameter steps is True (bool), accepted is int"),
        (["11_training", "-p", "names", "piano"], "parameter names is 'piano' (str), accepted is list"),
        (["12_nothing"], "chapter: found '12_nothing', accepted are 02_dataset, 11_training, 15_listening"),
        (["-p", "steps", "1"], "parameters are for one chapter, found 0 named"),
        (["--profile", "../x"], "profile: found '../x'"),
    ],
)
def test_a_wrong_argument_stops_with_one_message_before_anything_runs(build, repository, arguments, message):
    code, lines, error = build(*arguments)
    assert (code, lines) == (1, [])
    assert message in error and error.count("\n") == 1
    assert not (repository / "build").exists()


def test_values_are_read_as_the_default_suggests():
    assert typed_value("12", "text") == "12"
    assert typed_value("1e-3", 0.5) == 0.001
    assert typed_value("[1, 'a']", []) == [1, "a"]
    assert typed_value("null", 3) is None


def test_a_whole_number_will_do_for_a_fractional_one_and_defaults_are_not_passed_on(repository):
    chapter = read_chapters(repository)["11_training"]
    assert check_parameters(chapter, {"rate": 2, "steps": 5, "profile": "smoke"}) == {"rate": 2, "profile": "smoke"}


def test_a_chapter_without_parameters_is_named(repository):
    path = repository / "notebooks" / "11_training.md"
    path.write_text(path.read_text().replace(":tags: [parameters]\n", ""))
    with pytest.raises(BuildError, match="11_training: found 0 cells tagged 'parameters'"):
        check_parameters(read_chapters(repository)["11_training"], {})


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ("[16_nothing]", "needs '16_nothing'; accepted are the other chapters: 11_training, 15_listening"),
        ("[02_dataset]", "needs '02_dataset'; accepted are the other chapters"),
        ("11", "accepted is a list"),
    ],
)
def test_a_wrong_header_is_named(repository, needs, message):
    path = repository / "notebooks" / "02_dataset.md"
    path.write_text(path.read_text().replace("needs: []", f"needs: {needs}"))
    with pytest.raises(BuildError, match=message):
        read_chapters(repository)


def test_a_chapter_is_executed_after_a_later_one_that_it_needs(build, repository):
    add_chapter(repository, "10_decoder", "", needs=["11_training"])
    assert list(read_chapters(repository)) == ["02_dataset", "11_training", "10_decoder", "15_listening"]
    assert [line.split(":")[0] for line in build("10_decoder")[1]] == ["10_decoder", "11_training"]
    # Had 10 been examined before 11 ran, it would now run again.
    assert build("10_decoder")[1] == ["10_decoder: up to date", "11_training: up to date"]


def test_the_second_half_of_a_chapter_follows_the_first_and_its_results_are_its_own(repository):
    add_chapter(repository, "02b_more", "")
    chapters = read_chapters(repository)
    assert list(chapters) == ["02_dataset", "02b_more", "11_training", "15_listening"]
    assert [chapters[name].products for name in ("02_dataset", "02b_more")] == [("results/02_*",), ("results/02b_*",)]


def test_chapters_that_need_one_another_are_named(repository):
    add_chapter(repository, "10_decoder", "", needs=["15_listening"])
    add_chapter(repository, "11_training", "", needs=["10_decoder"])
    with pytest.raises(BuildError, match="need one another: 10_decoder, 15_listening, 11_training, 10_decoder"):
        read_chapters(repository)


def names(paths, root):
    return [str(path.relative_to(root)) for path in paths]


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("import ast_lib.c as c", ["c"]),
        ("from ast_lib import a", ["a", "b"]),
        ("if True:\n    from ast_lib.b import value", ["b"]),
        ("%matplotlib inline\nimport ast_lib.c\n!ls", ["c"]),
        ("%%time\nimport ast_lib.c", ["c"]),
        ("%%bash\nimport is not Python here", None),
        ('command = ["python", "-m", "ast_lib.b"]', ["b"]),
        ("import numpy", None),
    ],
)
def test_imports_of_a_chapter_are_found(repository, code, files):
    add_chapter(repository, "03_other", code)
    found = library_files(repository, read_chapters(repository)["03_other"])
    wanted = [] if files is None else ["ast_lib/__init__.py", *(f"ast_lib/{name}.py" for name in files)]
    assert names(found, repository) == wanted


def test_a_packages_files_and_its_main_module_are_found(repository):
    (repository / "ast_lib" / "losses").mkdir()
    (repository / "ast_lib" / "losses" / "__init__.py").write_text("from .hsic import hsic\nfrom ..c import x\n")
    (repository / "ast_lib" / "losses" / "hsic.py").write_text("")
    (repository / "ast_lib" / "__main__.py").write_text("")
    add_chapter(repository, "03_other", "from ast_lib.losses import hsic\n!python -m ast_lib transfer x")
    wanted = ["__init__", "__main__", "c", "losses/__init__", "losses/hsic"]
    found = library_files(repository, read_chapters(repository)["03_other"])
    assert names(found, repository) == [f"ast_lib/{name}.py" for name in wanted]


def test_code_that_is_not_python_is_named_with_its_cell(repository):
    add_chapter(repository, "03_other", "x = (")
    with pytest.raises(BuildError, match="notebooks/03_other.md: code cell 2, line 1"):
        library_files(repository, read_chapters(repository)["03_other"])


def test_published_weights_and_named_files_are_inputs(repository):
    (repository / "weights" / "full.safetensors").write_bytes(b"1")
    (repository / "results").mkdir()
    (repository / "results" / "a.json").write_text("[]")
    add_chapter(repository, "03_other", "from ast_lib.c import published_weights")
    path = repository / "notebooks" / "03_other.md"
    path.write_text(path.read_text().replace("needs: []", "files: ['results/*.json']"))
    found = names(input_files(repository, read_chapters(repository)["03_other"]), repository)
    assert found[2:] == ["requirements.lock", "weights/full.safetensors", "results/a.json"]
    path.write_text(path.read_text().replace("results/*.json", "results/b.json"))
    with pytest.raises(BuildError, match="name results/b.json"):
        input_files(repository, read_chapters(repository)["03_other"])


def test_the_list_of_dependencies_is_printed(repository, capsys):
    assert chapter_dependencies.main(["--root", str(repository), "15_listening"]) == 0
    assert capsys.readouterr().out == "15_listening: 11_training requirements.lock\n"
    assert chapter_dependencies.main(["--root", str(repository), "nothing"]) == 1


def test_papermill_executes_with_parameters_from_the_root_of_the_repository(repository, capsys):
    assert execute_chapter.main(["--root", str(repository), "02_dataset", "-p", "steps", "7"]) == 0
    folder = repository / "build" / "quick" / "notebooks"
    assert (repository / "build/quick/results/02_dataset.json").read_text() == "[7]"
    assert [path.name for path in folder.iterdir()] == ["02_dataset.ipynb"]
    executed = nbformat.read(folder / "02_dataset.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "steps 7\n"
    assert str(repository) not in json.dumps(executed)
    assert list(executed.metadata["ast_build"]["products"]) == ["results/02_dataset.json"]


def test_a_failing_chapter_leaves_a_readable_notebook_and_no_output(repository, capsys):
    add_chapter(repository, "02_dataset", "print('so far')\nraise ValueError('no such bin')")
    assert execute_chapter.main(["--root", str(repository)]) == 1
    captured = capsys.readouterr()
    folder = repository / "build" / "quick" / "notebooks"
    # The chapters that do not need it went on.
    assert sorted(path.stem for path in folder.iterdir()) == ["02_dataset.failed", "11_training", "15_listening"]
    assert captured.err == (
        "execute_chapter: 02_dataset: failed, cell [2] raised ValueError: no such bin "
        "(the notebook up to there is build/quick/notebooks/02_dataset.failed.ipynb)\n"
    )
    outputs = nbformat.read(folder / "02_dataset.failed.ipynb", as_version=4).cells[-1].outputs
    assert [output.output_type for output in outputs] == ["stream", "error"]
    assert outputs[0].text == "so far\n"
    # Once mended, nothing of the failure is left.
    add_chapter(repository, "02_dataset", "")
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 0
    assert sorted(path.stem for path in folder.iterdir()) == ["02_dataset", "11_training", "15_listening"]


def test_what_needs_a_failing_chapter_is_named_and_not_executed(repository, capsys):
    add_chapter(repository, "11_training", "raise ValueError('no such bin')")
    add_chapter(repository, "16_last", "", needs=["15_listening"])
    assert execute_chapter.main(["--root", str(repository)]) == 1
    captured = capsys.readouterr()
    assert "02_dataset: done" in captured.out and "15_listening" not in captured.out
    lines = captured.err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("execute_chapter: 11_training: failed, cell [2] raised ValueError")
    assert lines[1] == "execute_chapter: not executed, since they need what failed: 15_listening, 16_last"


def test_a_kernel_that_dies_is_reported(repository, capsys):
    add_chapter(repository, "02_dataset", "import os\nos._exit(1)")
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 1
    assert "02_dataset: failed" in capsys.readouterr().err
    folder = repository / "build" / "quick" / "notebooks"
    assert [path.name for path in folder.iterdir()] == ["02_dataset.failed.ipynb"]


@pytest.fixture
def impatient(monkeypatch):
    """A watch that looks four times a second and waits for two."""
    monkeypatch.setattr(kernels, "INTERVAL", 0.25)
    monkeypatch.setattr(kernels, "PATIENCE", 2.0)


def test_a_kernel_that_falls_silent_is_ended_tried_once_more_and_named_with_its_cell(repository, capsys, impatient):
    silent = "open('tries', 'a').write('x')\nimport threading\nthreading.Event().wait()"
    add_chapter(repository, "02_dataset", silent)
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 1
    captured = capsys.readouterr()
    what = (
        "02_dataset: failed, cell [2] (open('tries', 'a').write('x')) waits, and its kernel has done nothing for 2 s "
        "(the notebook up to there is build/quick/notebooks/02_dataset.failed.ipynb)"
    )
    assert captured.out.splitlines()[1:] == [f"{what}; once more", "02_dataset: failed"]
    assert captured.err == f"execute_chapter: {what}\n"
    assert (repository / "tries").read_text() == "xx"


def test_a_kernel_that_falls_silent_once_is_forgiven(repository, capsys, impatient):
    once = "import pathlib, threading\nif not pathlib.Path('tried').exists():\n    pathlib.Path('tried').touch()\n"
    add_chapter(repository, "02_dataset", once + "    threading.Event().wait()\n")
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 0
    assert "; once more\n" in capsys.readouterr().out
    assert [path.name for path in (repository / "build/quick/notebooks").iterdir()] == ["02_dataset.ipynb"]


def test_a_kernel_that_waits_for_a_process_that_computes_is_left_alone(repository, impatient):
    child = "import time; end = time.monotonic() + 4\nwhile time.monotonic() < end: pass"
    add_chapter(repository, "02_dataset", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])")
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 0


def test_what_a_user_has_configured_does_not_reach_the_book(repository, monkeypatch, tmp_path):
    """Start-up files, a backend without figures, a style, kernels of the same name, and more threads than one."""
    home = tmp_path / "home"
    for folder in (".ipython/profile_default/startup", ".config/matplotlib", ".local/share/jupyter/kernels/python3"):
        (home / folder).mkdir(parents=True)
    (home / ".ipython/profile_default/startup/00.py").write_text("print = None\n")
    (home / ".config/matplotlib/matplotlibrc").write_text("figure.figsize: 1, 1\n")
    (home / "start.py").write_text("print = None\n")
    spec = {"argv": ["/bin/false"], "display_name": "x", "language": "python"}
    (home / ".local/share/jupyter/kernels/python3/kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("IPYTHONDIR", str(home / ".ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(home / "start.py"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("JUPYTER_PATH", str(home / ".local/share/jupyter"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = "import os, matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n"
    add_chapter(repository, "02_dataset", code + "print(plt.rcParams['figure.figsize'], os.environ['OMP_NUM_THREADS'])")
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 0
    executed = nbformat.read(repository / "build/quick/notebooks/02_dataset.ipynb", as_version=4)
    figure, text = executed.cells[-1].outputs
    assert "image/png" in figure.data
    assert text.text == "[6.4, 4.8] 1\nsteps 5\n"


def test_threads_that_a_user_asked_for_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert kernels.environment(tmp_path, tmp_path)["OMP_NUM_THREADS"] == "3"


FIGURE = """```{{code-cell}} ipython3
---
mystnb:
  image:
    alt: A line that rises from one to two.
---
import matplotlib.pyplot as plt
{code}
```
"""


@pytest.mark.parametrize(
    ("code", "missing"),
    [("plt.plot([1, 2])\nplt.show()", 0), ("plt.show()", 1), ("if steps > 5:\n    plt.show()", 0)],
)
def test_a_figure_that_is_promised_and_not_made_fails_its_chapter(repository, capsys, code, missing):
    path = repository / "notebooks" / "02_dataset.md"
    path.write_text(path.read_text() + "\n" + FIGURE.format(code=code))
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == missing
    line = "execute_chapter: 02_dataset: failed, a figure is missing: A line that rises from one to two.\n"
    assert capsys.readouterr().err == line * missing


def test_a_cell_to_be_skipped_is_not_executed(repository):
    path = repository / "notebooks" / "02_dataset.md"
    path.write_text(path.read_text() + "\n```{code-cell} ipython3\n:tags: [skip-execution]\n\n1 / 0\n```\n")
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 0
    executed = nbformat.read(repository / "build/quick/notebooks/02_dataset.ipynb", as_version=4)
    assert (executed.cells[-1].source, executed.cells[-1].outputs) == ("1 / 0", [])


def test_a_folder_without_sockets_is_served_by_tcp(repository, monkeypatch, tmp_path):
    deep = tmp_path / ("x" * 100)  # no socket has a path of that length
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert not kernels.has_sockets(deep)
    assert execute_chapter.main(["--root", str(repository), "02_dataset"]) == 0
    assert list(deep.iterdir()) == []


def command(root, *arguments):
    return [sys.executable, execute_chapter.__file__, "--root", str(root), *arguments]


@pytest.fixture
def short():
    """A temporary folder whose path is short enough for sockets, as the environment's TMPDIR."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield folder, os.environ | {"TMPDIR": folder}


def test_two_executions_at_once_share_the_work(repository, short):
    folder, environment = short
    add_chapter(repository, "02_dataset", "open('tries', 'a').write('x')\nimport time\ntime.sleep(2)")
    runs = [
        subprocess.Popen(
            command(repository, "-j", "2"), cwd=repository, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = "".join(run.communicate(timeout=120)[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert (repository / "tries").read_text() == "x"
    assert said.count("02_dataset: done") == said.count("02_dataset: up to date") == 1
    names = sorted(path.name for path in (repository / "build/quick/notebooks").iterdir())
    assert names == ["02_dataset.ipynb", "11_training.ipynb", "15_listening.ipynb"]
    assert os.listdir(folder) == []
    assert sorted(path.name for path in repository.iterdir() if "kernel" in path.name) == []


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_checkout_that_is_only_read_is_left_as_it_was(repository, short, tmp_path_factory):
    """A build elsewhere writes nothing into the checkout, and works where nothing can be written to it."""
    _, environment = short
    before = contents(repository)
    mount = f"mount --bind {repository} {repository} && mount -o remount,ro,bind {repository} && "
    confined = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    can = shutil.which("unshare") and subprocess.run([*confined, mount + "true"], capture_output=True).returncode == 0
    for locked in (False, True) if can else (False,):
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        words = command(repository, "02_dataset", "-p", "output", str(elsewhere))
        if locked:
            assert subprocess.run([*confined, f"{mount}touch {repository}/x"], capture_output=True).returncode != 0
            words = [*confined, mount + '"$@"', "sh", *words]
            # Without another folder there is one line, and no traceback.
            plain = [*confined, mount + '"$@"', "sh", *command(repository, "02_dataset")]
            refused = subprocess.run(plain, cwd=repository, env=environment, capture_output=True, text=True)
            line = f"02_dataset: {repository}/build/quick cannot be written to (Read-only file system)"
            assert refused.returncode == 1 and refused.stderr.startswith(f"execute_chapter: {line}")
            assert refused.stderr.count("\n") == 1
        subprocess.run(words, cwd=repository, env=environment, check=True)
        assert (elsewhere / "notebooks" / "02_dataset.ipynb").is_file()
        assert contents(repository) == before


def started(path, seconds=60):
    """The process that a chapter has written to a file."""
    end = time.monotonic() + seconds
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.1)
    return psutil.Process(int(path.read_text()))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_is_interrupted_leaves_no_kernel_and_no_folder(repository, short, how):
    folder, environment = short
    add_chapter(repository, "02_dataset", "import os\nopen('pid', 'w').write(str(os.getpid()))\nwhile True: pass")
    words = command(repository, "02_dataset")
    # What a shell runs in the background, these tests perhaps, ignores SIGINT, and so would its children.
    heeded = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen(words, cwd=repository, env=environment, preexec_fn=heeded, **pipes)
    process = started(repository / "pid")
    run.send_signal(how)
    errors = run.communicate(timeout=60)[1]
    psutil.wait_procs([process], timeout=30)
    assert not process.is_running()
    if how == signal.SIGKILL:
        (left,) = pathlib.Path(folder).iterdir()
        os.utime(left, (0, 0))
        add_chapter(repository, "02_dataset", "")
        subprocess.run(words, cwd=repository, env=environment, check=True)
    else:
        assert run.returncode == 130
        assert errors.splitlines()[-1] == "execute_chapter: interrupted, its kernels are ended"
    assert os.listdir(folder) == []


def test_the_folder_of_an_execution_at_work_is_not_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with kernels.private_folder() as mine:
        os.utime(mine, (0, 0))
        with kernels.private_folder():
            assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def at_once(repository, monkeypatch):
    """Stand-in for papermill that notes which chapters were at work together; each takes a moment."""
    lock, working, together, pause = threading.Lock(), set(), [], [0.2]

    def run(root, chapter, parameters, target):
        with lock:
            working.add(chapter.name)
            together.append(sorted(working))
        time.sleep(pause[0])
        (target.parent.parent / "results").mkdir(parents=True, exist_ok=True)
        (target.parent.parent / "results" / f"{chapter.name}.json").write_text("[]")
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            working.remove(chapter.name)
        return nbformat.from_dict(chapter.notebook)

    monkeypatch.setattr(execute_chapter, "run", run)
    monkeypatch.setattr(kernels, "free_memory", lambda: 8.0)

    def started(*arguments: str, seconds: float = 0.2) -> list[list[str]]:
        pause[0] = seconds
        execute_chapter.main(["--root", str(repository), *arguments])
        return together

    return started


def test_chapters_that_do_not_need_one_another_run_at_the_same_time(at_once, repository):
    together = at_once("-j", "2", seconds=4.0)  # long enough for the other to start on a busy machine
    assert len(together) == 3 and together[1] == ["02_dataset", "11_training"]
    # What needs the training waits for it, not for what started beside it.
    assert "15_listening" in together[2] and "11_training" not in together[2]
    products = {
        path.stem: list(nbformat.read(path, as_version=4).metadata["ast_build"]["products"])
        for path in (repository / "build/quick/notebooks").iterdir()
    }
    assert products == {name: [f"results/{name}.json"] for name in ("02_dataset", "11_training", "15_listening")}


def test_one_job_runs_one_chapter_at_a_time_the_longest_chain_first(at_once):
    assert at_once("-j", "1")[0] == ["11_training"]
    assert all(len(names) == 1 for names in at_once("-j", "1"))


def test_chapters_for_which_there_is_no_memory_wait(at_once, repository):
    path = repository / "notebooks" / "02_dataset.md"
    path.write_text(path.read_text().replace("  needs: []", "  needs: []\n  gigabytes: 7.5"))
    assert all(len(names) == 1 for names in at_once("-j", "2"))


def test_the_length_of_a_chain_is_that_of_all_that_waits(repository):
    path = repository / "notebooks" / "15_listening.md"
    path.write_text(path.read_text().replace("  needs:", "  seconds: 100\n  needs:"))
    chapters = read_chapters(repository)
    assert execute_chapter.chain_lengths(chapters, chapters) == {
        "02_dataset": 30.0,
        "11_training": 130.0,
        "15_listening": 100.0,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seconds: soon", "'ast: seconds' is 'soon'; accepted is a number above 0"),
        ("gigabytes: 0", "'ast: gigabytes' is 0; accepted is a number above 0"),
        ("product: []", "accepted are the keys needs, unless_published, files, products, seconds, gigabytes"),
    ],
)
def test_a_wrong_number_or_key_in_a_header_is_named(repository, line, message):
    path = repository / "notebooks" / "02_dataset.md"
    path.write_text(path.read_text().replace("  needs: []", f"  needs: []\n  {line}"))
    with pytest.raises(BuildError, match=re.escape(message)):
        read_chapters(repository)


def test_jobs_are_checked(repository, capsys):
    assert execute_chapter.main(["--root", str(repository), "-j", "0"]) == 1
    assert capsys.readouterr().err == "execute_chapter: jobs: found 0, accepted are 1 and more\n"


def test_a_save_through_jupytext_keeps_every_header(root, tmp_path):
    """As Jupyter does it: the chapter becomes a notebook, and the notebook becomes the chapter again."""
    (tmp_path / "notebooks").mkdir()
    for name, chapter in read_chapters(root).items():
        notebook = nbformat.reads(nbformat.writes(chapter.notebook), as_version=4)
        jupytext.write(notebook, tmp_path / "notebooks" / f"{name}.md", fmt="md:myst")
    kept = read_chapters(tmp_path)
    fields = ("needs", "unless_published", "files", "products", "seconds", "gigabytes", "code")
    for name, chapter in read_chapters(root).items():
        assert [getattr(kept[name], field) for field in fields] == [getattr(chapter, field) for field in fields]


TOC = """format: jb-book
root: book/intro
parts:
  - caption: Chapters
    chapters:
      - file: notebooks/02_dataset
"""
INTRO = """# Intro

See {doc}`../notebooks/02_dataset`, [the code](../ast_lib/a.py), {cite}`vaswani2017attention`.

```{include} ../CHANGELOG.md
```

$$ x $$ (x)

```{bibliography}
```
"""


@pytest.fixture
def site(build, repository, root):
    """The small book with pages, built as far as executed notebooks."""
    shutil.copy(root / "_config.yml", repository)
    (repository / "_toc.yml").write_text(TOC)
    (repository / "book").mkdir()
    shutil.copy(root / "book" / "references.bib", repository / "book")
    shutil.copytree(root / "book" / "_static", repository / "book" / "_static")
    (repository / "book" / "intro.md").write_text(INTRO)
    (repository / "CHANGELOG.md").write_text("The first of all changes.\n")
    (repository / "build/quick/audio").mkdir(parents=True)
    (repository / "build/quick/audio/a.ogg").write_bytes(b"OggS")
    build()
    return repository


def test_the_site_is_built_once_and_again_after_a_change(site, capsys):
    assert build_site.main(["--root", str(site)]) == 0
    html = site / "build" / "quick" / "html"
    assert capsys.readouterr().out.endswith(f"The book is at {html / 'index.html'}\n")
    assert (html / "audio" / "a.ogg").read_bytes() == b"OggS"
    assert (html / "_static" / "custom.css").is_file() and (html / "_static/mathjax/tex-chtml.js").is_file()
    assert "../_static/mathjax/tex-chtml.js" in (html / "book" / "intro.html").read_text()
    assert "output 0" in (html / "notebooks" / "02_dataset.html").read_text()
    assert "The first of all changes." in (html / "book" / "intro.html").read_text()
    build_site.main(["--root", str(site)])
    assert capsys.readouterr().out.splitlines()[0] == "site: up to date"
    (site / "CHANGELOG.md").write_text("The second of all changes.\n")
    build_site.main(["--root", str(site)])
    assert capsys.readouterr().out.startswith("site: built again, because CHANGELOG.md changed")
    assert "The second of all changes." in (html / "book" / "intro.html").read_text()
    # A warning is an error, says what changed, and leaves the site that there was.
    (site / "book" / "intro.md").write_text("# Intro\n\n{cite}`nobody1900nothing`\n")
    assert build_site.main(["--root", str(site)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("site: built again, because book/intro.md changed")
    assert "build_site: Jupyter Book ended with errors or warnings" in captured.err
    assert "vaswani" in (html / "book" / "intro.html").read_text().lower()
    # The same warning stops the next build as well.
    assert build_site.main(["--root", str(site)]) == 1


def test_two_builds_of_a_site_at_once_are_one(site):
    words = [sys.executable, build_site.__file__, "--root", str(site)]
    runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(run.communicate(timeout=240)[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert said.count("site: up to date") == 1 and said.count("The book is at ") == 2


def test_a_listed_page_that_is_missing_is_named(site, capsys):
    (site / "build/quick/notebooks/02_dataset.ipynb").unlink()
    assert build_site.main(["--root", str(site)]) == 1
    assert "_toc.yml: notebooks/02_dataset has not been executed" in capsys.readouterr().err
    (site / "_toc.yml").write_text("format: jb-book\nroot: book/nothing\n")
    assert build_site.main(["--root", str(site)]) == 1
    assert "_toc.yml: there is no page book/nothing.md" in capsys.readouterr().err


def test_a_chapter_s_title_begins_with_the_number_of_its_file():
    cells = [nbformat.v4.new_code_cell("# no title"), nbformat.v4.new_markdown_cell("# Codes\n\n# not this")]
    for page, number in (("notebooks/04b_codes", "4b"), ("notebooks/12_evaluation", "12")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell) for cell in cells])
        assert build_site.numbered(notebook, page).cells[1].source == f"# {number}. Codes\n\n# not this"
