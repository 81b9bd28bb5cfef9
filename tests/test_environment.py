"""One environment in three files: pyproject.toml, requirements.lock and environment.yml; and what the code imports."""

import ast
import importlib.metadata
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
