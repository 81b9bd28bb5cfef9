"""Whether ``pyproject.toml``, ``requirements.lock`` and ``environment.yml`` describe the same environment, and whether
every Python that is promised can install it: ``python tools/environment_check.py``.

Nothing is asked over the network: what a pinned package wants is read from the metadata of the installed one.
"""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import yaml
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from chapter_dependencies import ROOT

FILES = ("pyproject.toml", "requirements.lock", "environment.yml")
EXTRAS = ("book", "test")  # that environment.yml installs; the others are for those who ask for them
INDEX = re.compile(r"://|(^|\s)(-i|-f|--(extra-)?index-url|--find-links)\b|\s@\s", re.MULTILINE)
# Systems on which PyTorch has wheels, as the variables of markers describe them.
SYSTEMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
)


class Pin(NamedTuple):
    """A version, and on which Pythons and systems it is needed (None: on all)."""

    version: str
    marker: Marker | None = None


def read_lock(lock: str) -> dict[str, Pin]:
    """Pin of every package of a constraints file, by canonical name.

    Raises:
        ValueError: for a line that is neither a comment nor ``name==version``, perhaps with ``; condition``, or a
            package pinned twice.
    """
    pins: dict[str, Pin] = {}
    for number, line in enumerate(lock.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)(?:\s*;\s*(.+))?", line.strip())
        try:
            marker = Marker(match[3]) if match and match[3] else None
        except InvalidMarker:
            match = None
        if match is None:
            raise ValueError(f"requirements.lock, line {number}: found {line!r}, accepted is name==version; condition")
        name = canonicalize_name(match[1])
        if name in pins:
            raise ValueError(f"requirements.lock, line {number}: {name} is pinned a second time")
        pins[name] = Pin(match[2], marker)
    return pins


def direct(project: dict) -> list[Requirement]:
    """What the table ``project`` of ``pyproject.toml`` requires, with all of its extras."""
    return [Requirement(line) for line in sum(project["optional-dependencies"].values(), project["dependencies"])]


def disagreements(pyproject: str, lock: str, environment: str) -> list[str]:
    """Every way in which the texts of the three files disagree, one sentence each; empty when they agree."""
    found = [
        f"{name} names a package index or an address"
        for name, text in (("requirements.lock", lock), ("environment.yml", environment))
        if INDEX.search("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    ]
    try:
        pins = read_lock(lock)
    except ValueError as error:
        return [*found, str(error)]
    project = tomllib.loads(pyproject)["project"]
    for requirement in direct(project):
        pin = pins.get(canonicalize_name(requirement.name))
        if not requirement.specifier:
            found.append(f"pyproject.toml gives no range for {requirement.name}")
        if pin is None:
            found.append(f"requirements.lock does not pin {requirement.name}")
        elif not requirement.specifier.contains(pin.version, prereleases=True):
            found.append(
                f"requirements.lock pins {requirement.name} {pin.version}, pyproject.toml wants {requirement.specifier}"
            )
    return found + environment_disagreements(project, environment)


def environment_disagreements(project: dict, environment: str) -> list[str]:
    """The part of :func:`disagreements` that concerns ``environment.yml``."""
    found = []
    entries = yaml.safe_load(environment)["dependencies"]
    conda = {re.split(r"[=<>]", entry)[0]: entry for entry in entries if isinstance(entry, str)}
    pip = next((entry["pip"] for entry in entries if isinstance(entry, dict) and "pip" in entry), [])
    for name in ("python", "fluidsynth", "pip"):
        if name not in conda:
            found.append(f"environment.yml lacks {name}")
    version = conda.get("python", "").partition("=")[2].lstrip("=")
    if version and not SpecifierSet(project["requires-python"]).contains(version):
        found.append(f"environment.yml has python {version}, pyproject.toml wants {project['requires-python']}")
    wanted = ["-c requirements.lock", f"-e .[{','.join(EXTRAS)}]"]
    if pip != wanted:
        found.append(f"environment.yml installs {pip} with pip, accepted is {wanted}")
    return found


def promised(requires_python: str) -> list[str]:
    """The releases of Python 3 that a range admits, oldest first: up to 3.29, with up to 30 patches each."""
    releases = [f"3.{minor}.{patch}" for minor in range(30) for patch in range(30)]
    return list(SpecifierSet(requires_python).filter(releases))


def settings(requires_python: str) -> Iterator[dict[str, str]]:
    """The variables of markers for every promised Python on every system, oldest Python first."""
    for python in promised(requires_python):
        for system in SYSTEMS:
            minor = python.rpartition(".")[0]
            yield {"python_version": minor, "python_full_version": python, "implementation_name": "cpython", **system}


def metadata(name: str) -> importlib.metadata.PackageMetadata | None:
    """Metadata of an installed package, None when it is not installed."""
    try:
        return importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None


Lookup = Callable[[str], importlib.metadata.PackageMetadata | None]


def uninstallable(pyproject: str, lock: str, lookup: Lookup = metadata) -> list[str]:
    """Every pin that some promised Python refuses, and every package that has no pin where it is needed.

    Args:
        pyproject, lock: texts of the files.
        lookup: metadata of a package by name. What is not installed is passed over: see :func:`not_compared`.
    """
    project, pins = tomllib.loads(pyproject)["project"], read_lock(lock)
    promise = project["requires-python"]
    where = list(settings(promise))
    found = []
    unpinned: dict[tuple[str, str], str] = {}
    for name, (version, marker) in pins.items():
        about = lookup(name)
        wanted = about and about["Version"] == version and about["Requires-Python"]
        needed = [setting["python_full_version"] for setting in where if marker is None or marker.evaluate(setting)]
        refused = [python for python in needed if not SpecifierSet(wanted or "").contains(python)]
        if refused:
            found.append(
                f"requirements.lock pins {name} {version}, which wants Python {wanted}; "
                f"pyproject.toml promises {promise}, and so {refused[0]}"
            )
    # The newest patch of each minor decides no marker differently from the oldest.
    for setting in (s for s in where if s["python_full_version"].endswith(".0")):
        for name, by in sorted(needed_in(setting, direct(project), lookup).items()):
            pin = pins.get(name)
            if pin is None or (pin.marker and not pin.marker.evaluate(setting)):
                unpinned.setdefault((name, by), f"Python {setting['python_version']}, {setting['sys_platform']}")
    found += [f"requirements.lock does not pin {name} for {by} ({place})" for (name, by), place in unpinned.items()]
    return found


def needed_in(setting: dict[str, str], requirements: Iterable[Requirement], lookup: Lookup) -> dict[str, str]:
    """Canonical names of all that some requirements need in one setting, and what each is needed by."""
    needed: dict[str, str] = {}
    waiting = [(requirement, "", "pyproject.toml") for requirement in requirements]
    seen = set()
    while waiting:
        requirement, extra, by = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({**setting, "extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        needed.setdefault(name, by)
        for inner in ("", *requirement.extras):
            about = lookup(name)
            if (name, inner) not in seen and about is not None:
                seen.add((name, inner))
                waiting += [(Requirement(line), inner, name) for line in about.get_all("Requires-Dist") or []]
    return needed


def not_compared(lock: str, lookup: Lookup = metadata) -> list[str]:
    """The pins about which nothing is known here, since that version is not installed."""
    about = {name: (pin.version, lookup(name)) for name, pin in read_lock(lock).items()}
    return [
        f"{name} {version}" + (f" (but {found['Version']})" if found else "")
        for name, (version, found) in about.items()
        if found is None or found["Version"] != version
    ]


def main() -> int:
    """Print what is wrong, and what could not be told here; status 1 when something is wrong."""
    pyproject, lock, environment = [(ROOT / name).read_text(encoding="utf-8") for name in FILES]
    found = disagreements(pyproject, lock, environment) or uninstallable(pyproject, lock)
    for sentence in found:
        print(f"environment_check: {sentence}", file=sys.stderr)
    if not found and (unknown := not_compared(lock)):
        print(f"environment_check: not installed here, so that its Python is not compared: {', '.join(unknown)}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
