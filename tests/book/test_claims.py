"""Every claim can fail: a bold sentence has an assertion or a record, a decimal in prose stands in data or in code."""

import json
import math
import re
import sys
import tomllib

import pytest

from chapter_dependencies import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import prose

CLAIMS = tomllib.loads((ROOT / "tests" / "book" / "claims.toml").read_text(encoding="utf-8"))
DERIVED, CITED = CLAIMS.pop("derived"), CLAIMS.pop("cited")
SHORTEST = 7  # words of a bold sentence; fewer are a label
NUMBER = re.compile(r"(?<![\w.−-])[−-]?\d+\.\d+(?![\w.]*\d)")


@pytest.fixture(scope="module")
def read():
    """Text on the path, and code, of each chapter."""
    found = {path.stem: prose.read(path) for path in sorted((ROOT / "notebooks").glob("*.md"))}
    return {name: (text, "\n".join(cell.source for cell in cells)) for name, (text, cells) in found.items()}


def bold(text):
    """Bold sentences of a chapter: their first words are how the list names them."""
    text = re.sub(r"^(`{3,}).*?^\1[ \t]*$", "", text, flags=re.M | re.S)
    found = (" ".join(each.split()) for each in re.findall(r"\*\*([^*]+)\*\*", text))
    return [each for each in found if prose.words(each) >= SHORTEST]


def test_every_bold_sentence_is_a_claim_of_the_list_and_no_other(read):
    missing = {
        name: [each for each in bold(text) if not any(each.startswith(claim["says"]) for claim in CLAIMS.get(name, []))]
        for name, (text, _) in read.items()
    }
    assert {name: found for name, found in missing.items() if found} == {}
    stale = {
        name: [
            claim["says"] for claim in claims if not any(each.startswith(claim["says"]) for each in bold(read[name][0]))
        ]
        for name, claims in CLAIMS.items()
    }
    assert {name: found for name, found in stale.items() if found} == {}


def test_every_claim_would_fail_an_assertion_or_contradict_a_record(read):
    for name, claims in CLAIMS.items():
        for claim in claims:
            assert ("fails" in claim) != ("record" in claim), f"{name}: {claim['says']}"
            if "fails" in claim:
                lines = [line for line in read[name][1].splitlines() if "assert" in line and claim["fails"] in line]
                assert lines, f"{name}: no assertion has {claim['fails']!r}"
            else:
                assert (ROOT / "results" / claim["record"]).is_file(), claim["record"]
                assert claim["record"] in read[name][1], f"{name}: no cell reads {claim['record']}"


def numbers_of(value):
    """All numbers of a parsed JSON file."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers_of(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, str):
        yield from map(float, re.findall(r"-?\d+\.\d+", value))


def known_numbers(name, code):
    """What a chapter's prose may quote: literals of its code, its own results, and the files that its code reads."""
    found = [float(each) for each in re.findall(r"\d+\.\d+|\d+", code)]
    files = [
        ROOT / "results" / f"{name}.json",
        *(ROOT / "results" / each for each in re.findall(r"[\w*]+\.(?:json|csv)", code)),
    ]
    for path in files:
        if path.suffix == ".json" and path.is_file():
            found += numbers_of(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".csv" and path.is_file():
            found += map(float, re.findall(r"-?\d+\.\d+", path.read_text(encoding="utf-8")))
    return found


def is_known(number, known):
    """Whether a decimal is a known number, rounded; per cent, milliseconds and a sign in words count too."""
    value, digits = float(number.replace("−", "-")), len(number.split(".")[1])
    for same, extra in ((value, 0), (-value, 0), (value / 100, 2), (value / 1000, 3)):
        if any(abs(round(each, digits + extra) - same) < 10 ** -(digits + extra) / 2 for each in known):
            return True
    return False


def test_every_decimal_in_prose_stands_in_a_record_in_code_or_in_the_list(read):
    unknown = {}
    for name, (text, code) in read.items():
        known, listed = known_numbers(name, code), {*DERIVED, *CITED.get(name, [])}
        for paragraph in prose.paragraphs(text):
            for number in NUMBER.findall(paragraph):
                if number not in listed and not is_known(number, known):
                    unknown.setdefault(name, []).append(f"{number}: {paragraph[:60]}")
    assert unknown == {}


def test_derived_numbers_are_what_they_are_derived_from():
    names = {name: getattr(math, name) for name in ("log", "sqrt", "erf")}
    for number, expression in DERIVED.items():
        value = eval(expression, {"__builtins__": {}}, names)  # noqa: S307 - of our own list
        assert round(value, len(number.split(".")[1])) == float(number), number


def test_the_search_for_numbers_finds_what_is_wrong():
    assert is_known("0.84", [0.8413]) and is_known("84.1", [0.8413]) and is_known("−3.5", [3.5])
    assert not is_known("0.85", [0.8413]) and not is_known("84.2", [0.8413])
    assert NUMBER.findall("a 3.3 s clip, −0.05, version 1.2.3, 40 % and 2.5") == ["3.3", "−0.05", "2.5"]
