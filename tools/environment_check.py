"""Whether ``pyproject.toml``, ``requirements.lock`` and ``environment.yml`` describe the same environment."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

EXTRAS = ("book", "test")
INDEX = re.compile(r"://|(^|\s)(-i|-f|--(extra-)?index-url|--find-links)\b|\s@\s", re.MULTILINE)


def read_lock(lock: str) -> dict[str, str]:
    """Pinned version of every package of a constraints file, by canonical name.

    Raises:
        ValueError: for a line that is neither a comment nor ``name==version``, or a package pinned twice.
    """
    pins: dict[str, str] = {}
    for number, line in enumerate(lock.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)", line.strip())
        if match is None:
            raise ValueError(f"requirements.lock, line {number}: found {line!r}, accepted is name==version")
        name = canonicalize_name(match[1])
        if name in pins:
            raise ValueError(f"requirements.lock, line {number}: {name} is pinned a second time")
        pins[name] = match[2]
    return pins


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
    extras = project["optional-dependencies"]
    for requirement in map(Requirement, [*project["dependencies"], *(line for e in EXTRAS for line in extras[e])]):
        pin = pins.get(canonicalize_name(requirement.name))
        if not requirement.specifier:
            found.append(f"pyproject.toml gives no range for {requirement.name}")
        if pin is None:
            found.append(f"requirements.lock does not pin {requirement.name}")
        elif not requirement.specifier.contains(pin, prereleases=True):
            found.append(
                f"requirements.lock pins {requirement.name} {pin}, pyproject.toml wants {requirement.specifier}"
            )
    return found + environment_disagreements(project, environment)


def environment_disagreements(project: dict, environment: str) -> list[str]:
    """The part of :func:`disagreements` that concerns ``environment.yml``."""
    found = []
    entries = yaml.safe_load(environment)["dependencies"]
    conda = {re.split(r"[=<>]", entry)[0]: entry for entry in entries if isinstance(entry, str)}
    pip = next((entry["pip"] for entry in entries if isinstance(entry, dict) and "pip" in entry), [])
    for name in ("python", "fluidsynth", "ffmpeg", "pip"):
        if name not in conda:
            found.append(f"environment.yml lacks {name}")
    version = conda.get("python", "").partition("=")[2].lstrip("=")
    if version and not SpecifierSet(project["requires-python"]).contains(version):
        found.append(f"environment.yml has python {version}, pyproject.toml wants {project['requires-python']}")
    wanted = ["-c requirements.lock", f"-e .[{','.join(EXTRAS)}]"]
    if pip != wanted:
        found.append(f"environment.yml installs {pip} with pip, accepted is {wanted}")
    return found
