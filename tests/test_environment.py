"""One environment in three files: pyproject.toml, requirements.lock and environment.yml; and what the code imports."""

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from environment_check import disagreements, read_lock

PYPROJECT = """
[project]
requires-python = ">=3.11,<3.14"
dependencies = ["numpy>=2,<3"]
[project.optional-dependencies]
book = ["pretty_midi>=0.2,<0.3"]
test = ["pytest>=8"]
"""
LOCK = "# pins\nnumpy==2.1.0\npretty-midi==0.2.11.post0\npytest==9.0\n"
ENVIRONMENT = """
dependencies:
  - python=3.11
  - fluidsynth
  - ffmpeg
  - pip
  - pip:
      - -c requirements.lock
      - -e .[book,test]
"""


def texts(root):
    return [(root / name).read_text() for name in ("pyproject.toml", "requirements.lock", "environment.yml")]


def test_the_committed_files_agree(root):
    assert disagreements(*texts(root)) == []


def test_the_examples_agree():
    assert disagreements(PYPROJECT, LOCK, ENVIRONMENT) == []


@pytest.mark.parametrize(
    ("which", "old", "new", "message"),
    [
        ("lock", "numpy==2.1.0\n", "", "requirements.lock does not pin numpy"),
        ("lock", "numpy==2.1.0", "numpy==3.0.0", "requirements.lock pins numpy 3.0.0, pyproject.toml wants <3,>=2"),
        ("lock", "numpy==2.1.0", "numpy>=2.1.0", "line 2: found 'numpy>=2.1.0', accepted is name==version"),
        ("lock", "pytest==9.0", "Pretty_MIDI==0.2.11", "pretty-midi is pinned a second time"),
        ("lock", "pytest==9.0", "pytest @ file:///wheels/pytest.whl", "requirements.lock names a package index"),
        ("lock", "# pins", "--index-url https://example.org/simple", "requirements.lock names a package index"),
        ("pyproject", "numpy>=2,<3", "numpy", "pyproject.toml gives no range for numpy"),
        ("pyproject", "pytest>=8", "hypothesis>=6", "requirements.lock does not pin hypothesis"),
        ("environment", "python=3.11", "python=3.10", "environment.yml has python 3.10, pyproject.toml wants"),
        ("environment", "  - fluidsynth\n", "", "environment.yml lacks fluidsynth"),
        (
            "environment",
            "-e .[book,test]",
            "-e .[book]",
            "environment.yml installs ['-c requirements.lock', '-e .[",
        ),
        ("environment", "-c requirements.lock", "numpy==2.0.0", "environment.yml installs ['numpy==2.0.0'"),
        (
            "environment",
            "- fluidsynth",
            "- fluidsynth\n  - https://example.org/x.conda",
            "environment.yml names a package",
        ),
    ],
)
def test_each_kind_of_disagreement_is_found(which, old, new, message):
    files = {"pyproject": PYPROJECT, "lock": LOCK, "environment": ENVIRONMENT}
    assert old in files[which]
    files[which] = files[which].replace(old, new)
    found = disagreements(*files.values())
    assert any(message in sentence for sentence in found), found


def test_this_environment_has_the_locked_versions_of_the_direct_dependencies(root):
    pyproject, lock, _ = texts(root)
    project, pins = tomllib.loads(pyproject)["project"], read_lock(lock)
    direct = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {canonicalize_name(Requirement(line).name) for line in direct}
    installed = {name: importlib.metadata.version(name) for name in sorted(names)}
    assert installed == {name: pins[name] for name in sorted(names)}


@pytest.mark.parametrize(
    ("folder", "extras"), [("ast_lib", []), ("tools", ["book", "test"]), ("tests", ["book", "test"])]
)
def test_every_package_that_the_code_imports_is_declared(root, folder, extras):
    project = tomllib.loads(texts(root)[0])["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    own = {path.stem for folder in ("tools", "tests") for path in (root / folder).glob("*.py")} | {"ast_lib"}
    owners = importlib.metadata.packages_distributions()
    undeclared = {}
    for path in sorted((root / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
                if not {canonicalize_name(owner) for owner in owners.get(name, [])} & declared:
                    undeclared[name] = str(path.relative_to(root))
    assert undeclared == {}


def test_the_version_is_the_same_everywhere(root):
    version = tomllib.loads(texts(root)[0])["project"]["version"]
    assert yaml.safe_load((root / "CITATION.cff").read_text())["version"] == version
    assert importlib.metadata.version("ast-companion") == version


@pytest.fixture
def machine(root, tmp_path):
    """Run a set-up script on a machine that has only the commands given as {name: shell script}."""

    def run(script, *arguments, commands, **environment):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, body in commands.items():
            (folder / name).write_text(f"#!{shutil.which('bash')}\n{body}\n")
            (folder / name).chmod(0o755)
        command = [shutil.which("bash"), str(root / "tools" / script), *arguments]
        variables = {"PATH": str(folder), "LOG": str(tmp_path / "log"), **environment}
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
        return done.returncode, done.stdout, done.stderr, log

    return run


NO_LIBRARY = '[[ "$2" == "import fluidsynth" ]] && exit 1 || exit 0'
LIBRARY_ONCE_INSTALLED = '[[ "$2" == "import fluidsynth" && "$(<$LOG)" != *install* ]] && exit 1 || exit 0'
LOG = 'echo "$0 $*" >>"$LOG"'


def test_fluidsynth_that_loads_is_left_alone(machine):
    assert machine("fluidsynth.sh", "python", commands={"python": "exit 0", "apt-get": LOG}) == (0, "", "", "")


def test_fluidsynth_without_the_right_to_install_it_names_the_command(machine):
    code, _, error, log = machine(
        "fluidsynth.sh", "python", commands={"python": NO_LIBRARY, "id": "echo 1000", "apt-get": LOG, "sudo": "exit 1"}
    )
    assert (code, log) == (1, "")
    assert error.count("\n") == 1 and "sudo apt-get install libfluidsynth3" in error


@pytest.mark.parametrize(("user", "sudo"), [("0", "exit 1"), ("1000", 'shift; "$@"')])
def test_fluidsynth_is_installed_by_root_or_through_sudo(machine, user, sudo):
    commands = {"python": f"touch $LOG; {LIBRARY_ONCE_INSTALLED}", "id": f"echo {user}", "sudo": sudo}
    commands |= {"apt-get": LOG, "true": "exit 0", "env": 'shift; "$@"', "touch": ': >>"$1"'}
    code, _, error, log = machine("fluidsynth.sh", "python", commands=commands)
    assert (code, error) == (0, "")
    assert "apt-get update" in log and "apt-get install -y -qq libfluidsynth3" in log


def test_fluidsynth_is_installed_into_an_active_conda_environment(machine):
    commands = {"python": f"touch $LOG; {LIBRARY_ONCE_INSTALLED}", "conda": LOG, "touch": ': >>"$1"'}
    code, _, _, log = machine(
        "fluidsynth.sh", "python", commands=commands, CONDA_PREFIX="/opt/ast", CONDA_DEFAULT_ENV="ast"
    )
    assert code == 0 and "install -y -q -p /opt/ast -c conda-forge fluidsynth" in log


def test_a_machine_without_a_python_that_will_do_is_told_so(machine):
    commands = {"python3": "exit 1", "python3.11": "exit 1"}
    code, _, error, _ = machine("environment.sh", ".venv/bin/python", commands=commands)
    assert code == 1 and error.count("\n") == 1 and "no Python 3.11, 3.12 or 3.13 was found" in error


def test_a_python_that_cannot_make_environments_names_the_package(machine):
    python = '[[ "$2" == "import ensurepip, venv" ]] && exit 1; [[ "$2" == *print* ]] && echo python3.11-venv; exit 0'
    commands = {"python3.11": python, "id": "echo 1000"}
    code, _, error, _ = machine("environment.sh", ".venv/bin/python", commands=commands)
    assert code == 1 and error.count("\n") == 1 and "run: sudo apt-get install python3.11-venv" in error


def test_an_environment_is_made_with_the_preferred_python(machine):
    commands = {"python3.11": f"[[ $1 == -m ]] && {LOG}; exit 0", "python3": "exit 0"}
    code, _, error, log = machine("environment.sh", ".venv/bin/python", commands=commands)
    assert (code, error) == (0, "") and log.endswith("/python3.11 -m venv --clear .venv\n")


def test_make_uses_an_active_conda_environment_and_never_base(root):
    def plan(**variables):
        kept = {name: os.environ[name] for name in ("PATH",)}
        command = ["make", "--no-print-directory", "-n", "book"]
        return subprocess.run(command, cwd=root, env=kept | variables, capture_output=True, text=True).stdout

    assert "/opt/ast/bin/python tools/execute_chapter.py" in plan(CONDA_PREFIX="/opt/ast", CONDA_DEFAULT_ENV="ast")
    for base in ({"CONDA_PREFIX": "/opt/conda", "CONDA_DEFAULT_ENV": "base"}, {}):
        assert "\n.venv/bin/python tools/execute_chapter.py --profile quick\n" in "\n" + plan(**base)
