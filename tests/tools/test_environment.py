"""One environment in three files: pyproject.toml, requirements.lock and environment.yml; and what the code imports."""

import ast
import email.message
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

from environment_check import EXTRAS, direct, disagreements, metadata, not_compared, promised, read_lock, uninstallable

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
        ("lock", "numpy==2.1.0", "numpy>=2.1.0", "line 2: found 'numpy>=2.1.0', accepted is name==version; condition"),
        ("lock", "pytest==9.0", "pytest==9.0; python >= 3", "accepted is name==version; condition"),
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
    optional = {extra: lines for extra, lines in project["optional-dependencies"].items() if extra not in EXTRAS}
    names = {canonicalize_name(requirement.name) for requirement in direct(project)}
    # An extra that environment.yml leaves out may be missing, but not of another version.
    names -= {
        name
        for name in (canonicalize_name(Requirement(line).name) for lines in optional.values() for line in lines)
        if metadata(name) is None
    }
    installed = {name: importlib.metadata.version(name) for name in sorted(names)}
    assert installed == {name: pins[name].version for name in sorted(names)}


# --- What every promised Python can install


def package(version, python=None, *requires):
    """Metadata of an installed package."""
    about = email.message.Message()
    about["Version"] = version
    if python:
        about["Requires-Python"] = python
    for line in requires:
        about["Requires-Dist"] = line
    return about


INSTALLED = {
    "numpy": package("2.1.0", ">=3.10"),
    "pretty-midi": package("0.2.11.post0", None, "mido>=1.1"),
    "mido": package("1.3.3", ">=3.7", "rtmidi; extra == 'ports'"),
    "pytest": package("9.0", ">=3.9", "colorama>=0.4; sys_platform == 'win32'", "numpy; python_version < '3.10'"),
    "colorama": package("0.4.6", "!=3.0.*,>=2.7"),
}
COMPLETE = LOCK + 'mido==1.3.3\ncolorama==0.4.6; sys_platform == "win32"\n'


def test_every_promised_python_can_install_the_committed_pins(root):
    pyproject, lock, _ = texts(root)
    assert uninstallable(pyproject, lock) == []


def test_a_range_promises_its_first_and_its_last_patch():
    assert promised(">=3.11,<3.14")[0] == "3.11.0" and promised(">=3.11,<3.14")[-1] == "3.13.29"
    assert promised(">=3.11.2,<3.12")[0] == "3.11.2"


def test_a_complete_lock_can_be_installed_everywhere():
    assert uninstallable(PYPROJECT, COMPLETE, INSTALLED.get) == []
    assert not_compared(COMPLETE, INSTALLED.get) == []


@pytest.mark.parametrize(
    ("changes", "old", "new", "message"),
    [
        (
            {"numpy": package("2.1.0", ">=3.11.5")},
            "",
            "",
            "requirements.lock pins numpy 2.1.0, which wants Python >=3.11.5; pyproject.toml promises >=3.11,<3.14, "
            "and so 3.11.0",
        ),
        (
            {"mido": package("1.3.3", ">=3.7,<3.13")},
            "",
            "",
            "requirements.lock pins mido 1.3.3, which wants Python >=3.7,<3.13; pyproject.toml promises >=3.11,<3.14, "
            "and so 3.13.0",
        ),
        ({}, "mido==1.3.3\n", "", "requirements.lock does not pin mido for pretty-midi (Python 3.11, linux)"),
        (
            {},
            'colorama==0.4.6; sys_platform == "win32"\n',
            "",
            "requirements.lock does not pin colorama for pytest (Python 3.11, win32)",
        ),
        (
            {},
            "mido==1.3.3",
            'mido==1.3.3; python_version < "3.13"',
            "requirements.lock does not pin mido for pretty-midi (Python 3.13, linux)",
        ),
    ],
)
def test_what_some_promised_python_cannot_install_is_found(changes, old, new, message):
    assert old in COMPLETE
    assert uninstallable(PYPROJECT, COMPLETE.replace(old, new), (INSTALLED | changes).get) == [message]


def test_a_condition_says_on_which_pythons_a_pin_must_run():
    installed = INSTALLED | {"lts": package("1", ">=3.13")}
    assert uninstallable(PYPROJECT, COMPLETE + 'lts==1; python_version >= "3.13"\n', installed.get) == []
    found = uninstallable(PYPROJECT, COMPLETE + 'lts==1; python_version >= "3.12"\n', installed.get)
    assert len(found) == 1 and "wants Python >=3.13" in found[0] and "and so 3.12.0" in found[0]


def test_a_pin_that_is_not_installed_is_named():
    installed = {name: about for name, about in INSTALLED.items() if name != "mido"}
    installed["numpy"] = package("2.2.0", ">=3.12")
    assert not_compared(COMPLETE, installed.get) == ["numpy 2.1.0 (but 2.2.0)", "mido 1.3.3"]
    assert uninstallable(PYPROJECT, COMPLETE, installed.get) == []


def test_the_check_can_be_run(root):
    done = subprocess.run([sys.executable, "tools/environment_check.py"], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") <= 1


@pytest.mark.parametrize(
    ("folder", "extras"), [("ast_lib", []), ("tools", ["book", "test"]), ("tests", ["book", "test"])]
)
def test_every_package_that_the_code_imports_is_declared(root, folder, extras):
    project = tomllib.loads(texts(root)[0])["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    own = {path.stem for folder in ("tools", "tests") for path in (root / folder).rglob("*.py")}
    own |= {"ast_lib", "benchmarks"}
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


# --- Set-up scripts, on a machine that has only a few commands

USER = {"id": "echo 1000", "sudo": "exit 1"}
ROOT_USER = {"id": "echo 0"}
SUDO = {"id": "echo 1000", "sudo": 'shift; exec "$@"'}
RUNNERS = {"true": "exit 0", "timeout": 'shift; exec "$@"'}


@pytest.fixture
def machine(root, tmp_path):
    """Run a set-up script on a machine that has only the commands given as {name: shell script}, and these few."""

    def run(script, *arguments, commands, **environment):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("env", "tail", "cat", "chmod", "mkdir"):
            (folder / name).symlink_to(shutil.which(name))
        for name, body in (RUNNERS | USER | commands).items():
            (folder / name).write_text(f"#!{shutil.which('bash')}\n{body}\n")
            (folder / name).chmod(0o755)
        command = [shutil.which("bash"), str(root / "tools" / script), *arguments]
        variables = {"PATH": str(folder), "LOG": str(tmp_path / "log"), **environment}
        (tmp_path / "log").touch()
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout, done.stderr, (tmp_path / "log").read_text()

    return run


LOG = 'echo "${0##*/} $*" >>"$LOG"'
LOADS = '[[ "$2" == "import fluidsynth;"* ]]'
NO_LIBRARY = f"if {LOADS}; then echo ImportError: no library >&2; exit 1; fi"
LIBRARY_ONCE_INSTALLED = f'{LOADS} && [[ "$(<$LOG)" != *install*fluidsynth* ]] && exit 1 || exit 0'
# apt-get "installs" a program: what is asked of it is in PATH afterwards.
APT = f"""{LOG}
for package; do :; done
case $package in chromium) echo '#!/bin/sh' >"${{0%/*}}/$package" && chmod +x "${{0%/*}}/$package" ;; esac
exit 0"""
HAS = {"chromium": "exit 0"}


@pytest.mark.parametrize("purpose", [(), ("test",)])
def test_what_is_there_is_left_alone(machine, purpose):
    commands = HAS | ROOT_USER | {"python": "exit 0", "apt-get": LOG}
    assert machine("system_packages.sh", "python", *purpose, commands=commands) == (0, "", "", "")


def test_fluidsynth_without_the_right_to_install_it_names_the_command(machine):
    commands = HAS | {"python": NO_LIBRARY, "apt-get": LOG}
    code, _, error, log = machine("system_packages.sh", "python", commands=commands)
    assert (code, log) == (1, "")
    assert error.count("\n") == 1 and "cannot be loaded (ImportError: no library)" in error
    assert "sudo apt-get install libfluidsynth3" in error


@pytest.mark.parametrize("user", [ROOT_USER, SUDO])
def test_system_packages_are_installed_by_root_or_through_sudo(machine, user):
    commands = user | {"python": LIBRARY_ONCE_INSTALLED, "apt-get": APT}
    code, out, error, log = machine("system_packages.sh", "python", "test", commands=commands)
    assert (code, error) == (0, "") and out.count("\n") == 2
    calls = [call.split() for call in log.splitlines()]
    assert [call[-1] for call in calls] == ["update", "libfluidsynth3", "chromium"]
    assert all("DPkg::Lock::Timeout=120" in call for call in calls) and all("-y" in call for call in calls[1:])


def test_chromium_is_for_tests_only(machine):
    commands = ROOT_USER | {"python": "exit 0", "apt-get": APT}
    assert "chromium" not in machine("system_packages.sh", "python", commands=commands)[3]


def test_without_chromium_the_work_goes_on(machine):
    code, out, error, _ = machine("system_packages.sh", "python", "test", commands={"python": "exit 0"})
    assert (code, out) == (0, "") and error.count("\n") == 1
    assert "Chromium: not found, so that tests in a browser are skipped" in error and "install chromium" in error


def test_system_packages_are_installed_into_an_active_conda_environment(machine):
    commands = {"python": LIBRARY_ONCE_INSTALLED, "conda": LOG}
    prefix = "/opt/my envs/ast"
    code, _, error, log = machine(
        "system_packages.sh", "python", commands=commands, CONDA_PREFIX=prefix, CONDA_DEFAULT_ENV="ast"
    )
    assert (code, error, log) == (0, "", f"conda install -y -q -p {prefix} -c conda-forge fluidsynth\n")


def test_a_python_without_pyfluidsynth_is_named(machine):
    code, _, error, _ = machine("system_packages.sh", "python", commands=HAS | {"python": "exit 1"})
    assert code == 1 and error == "FluidSynth: python has no package pyfluidsynth; run: make environment\n"


def test_a_machine_without_a_python_that_will_do_is_told_so(machine):
    commands = {"python3": "exit 1", "python3.11": "exit 1"}
    code, _, error, _ = machine("environment.sh", ".venv/bin/python", commands=commands)
    assert code == 1 and error.count("\n") == 1 and "no Python 3.11, 3.12 or 3.13 was found" in error


def test_a_python_that_cannot_make_environments_names_the_package(machine):
    python = '[[ "$2" == "import ensurepip, venv" ]] && exit 1; [[ "$2" == *print* ]] && echo python3.11-venv; exit 0'
    code, _, error, _ = machine("environment.sh", ".venv/bin/python", commands={"python3.11": python})
    assert code == 1 and error.count("\n") == 1 and "run: sudo apt-get install python3.11-venv" in error


def making(python):
    """A python3.11 whose environments have the ``python`` given as a shell script."""
    script = f"#!{shutil.which('bash')}\n{python}"
    return f"""if [[ $1 == -m ]]; then
{LOG}
mkdir -p .venv/bin
cat >.venv/bin/python <<'END'
{script}
END
chmod +x .venv/bin/python
fi"""


def test_an_environment_is_made_with_the_preferred_python_once(machine, tmp_path):
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    commands = {"python3.11": making(LOG), "python3": "exit 0"}
    code, out, error, log = machine("environment.sh", ".venv/bin/python", commands=commands)
    assert (code, error) == (0, "") and out.startswith("Installing what pyproject.toml lists")
    assert log.splitlines()[0] == "python3.11 -m venv --clear .venv"
    assert log.splitlines()[-2] == "python -m pip install -c requirements.lock -e .[book,test]"
    assert log.splitlines()[-1].endswith("compile_metrics.py")
    shutil.rmtree(tmp_path / "bin")
    assert machine("environment.sh", ".venv/bin/python", commands={}) == (0, "", "", log)
    shutil.rmtree(tmp_path / "bin")
    os.utime(tmp_path / "requirements.lock")
    code, out, _, log = machine("environment.sh", ".venv/bin/python", commands={})
    assert code == 0 and "venv" not in log.splitlines()[-1] and log.count(" install ") == 2


def test_the_reason_of_pip_is_shown(machine, tmp_path):
    python = making("""[[ $3 == install ]] || exit 0
echo 'The conflict is caused by:'; echo '    a 1 depends on b>=2'; echo ERROR: ResolutionImpossible >&2; exit 1""")
    code, _, error, _ = machine("environment.sh", ".venv/bin/python", commands={"python3.11": python})
    lines = error.splitlines()
    assert code == 1 and lines[:3] == [
        "The conflict is caused by:",
        "    a 1 depends on b>=2",
        "ERROR: ResolutionImpossible",
    ]
    assert lines[3:] == [
        "environment: pip failed, for the reason above; all that it said is in .venv/.ast-companion-installed.log"
    ]
    assert not (tmp_path / ".venv" / ".ast-companion-installed").exists()


def test_a_mac_with_an_intel_processor_is_told_that_pytorch_has_no_build(machine):
    python = making('[[ "$2" == *x86_64* ]] && exit 1; exit 0')
    code, out, error, _ = machine("environment.sh", ".venv/bin/python", commands={"python3.11": python})
    assert (code, out) == (1, "") and error.count("\n") == 1
    assert "PyTorch 2.10 and later have no build for a Mac's Intel processor" in error


# --- The Makefile


def plan(folder, goal="book", **variables):
    """What make would run."""
    kept = {name: os.environ[name] for name in ("PATH",)}
    command = ["make", "--no-print-directory", "-n", goal]
    return subprocess.run(command, cwd=folder, env=kept | variables, capture_output=True, text=True, check=True).stdout


def test_make_uses_an_active_conda_environment_and_never_base(root):
    prefix = "/opt/my envs/ast"
    planned = plan(root, CONDA_PREFIX=prefix, CONDA_DEFAULT_ENV="ast")
    assert f'"{prefix}/bin/python" tools/execute_chapter.py' in planned
    assert f'bash tools/environment.sh "{prefix}/bin/python"\n' in planned
    assert planned.count("my envs") == planned.count(f'"{prefix}/bin/python"')
    for base in ({"CONDA_PREFIX": "/opt/conda", "CONDA_DEFAULT_ENV": "base"}, {}):
        assert '\n".venv/bin/python" tools/execute_chapter.py --profile quick\n' in "\n" + plan(root, **base)


def test_a_make_with_a_python_of_its_own_installs_nothing_into_it(root):
    command = ["make", "--no-print-directory", "-n", "book", "PYTHON=/opt/my python"]
    planned = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert "environment.sh" not in planned and '"/opt/my python" tools/execute_chapter.py' in planned


@pytest.mark.parametrize("goal", ["lint", "book", "test", "chapter", "student", "bench", "publish"])
def test_make_runs_scripts_by_their_interpreter(root, goal):
    """An unpacked archive may have lost the right to run them."""
    for line in plan(root, goal).splitlines():
        assert not line.strip().startswith(("tools/", "./tools/")), line


@pytest.fixture
def project(root, tmp_path):
    """The set-up files of the project in a folder of their own."""
    folder = tmp_path / "project"
    for name in ("tools", ".ci"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", ".gitattributes"):
        shutil.copy(root / name, folder)
    return folder


def test_make_runs_where_no_file_may_be_run_and_nothing_is_found_in_the_scripts_folder(project):
    for path in (project / "tools").iterdir():
        path.chmod(0o644)
    (project / "tools" / "execute_chapter.py").write_text("import neighbour\n")
    (project / "tools" / "neighbour.py").write_text("print('found')\n")
    (project / "tools" / "build_site.py").write_text("")
    (project / "tools" / "system_packages.sh").write_text("")
    done = subprocess.run(
        ["make", "--no-print-directory", "book", f"PYTHON={sys.executable}"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "found\n" in done.stdout


def test_a_clone_with_windows_line_endings_has_scripts_that_bash_runs(project, tmp_path):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *arguments], cwd=project, check=True)
    clone = ["git", "-c", "core.autocrlf=true", "clone", "-q", str(project), str(tmp_path / "clone")]
    subprocess.run(clone, check=True)
    for path in sorted((tmp_path / "clone").rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            assert b"\r" not in path.read_bytes(), path


def test_scripts_are_valid_bash(root):
    for path in [*sorted((root / "tools").glob("*.sh")), root / ".ci" / "run"]:
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), path
