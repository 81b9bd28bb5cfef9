"""What a reader of each chapter has before them: words, equations, lines of code, minutes; and sentences to mend.

``python tools/prose.py`` prints a table and writes it to ``results/prose.json``; ``python tools/prose.py CHAPTER ...``
lists sentences, paragraphs and words of those chapters and pages that ``tests/book/test_prose.py`` does not accept.
The *path* is what is read without unfolding anything: no dropdown, no exercise, no hidden cell.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sys
from collections.abc import Iterator

import jupytext

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "results" / "prose.json"
LONGEST = 35  # words of a sentence
SEMICOLONS = 3  # of a paragraph: too many
RARE = 2000  # words among which one habit may stand
WORDS, EQUATION, LINE, FIGURE = 200, 0.5, 1 / 15, 0.3  # a minute; minutes each

FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w-]+)\}[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.M | re.S)
FOLDED = {"exercise", "solution", "dropdown", "bibliography", "quiz", "raw"}
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
SOLUTION = re.compile(r"^ *### BEGIN SOLUTION.*?### END SOLUTION\n?", re.M | re.S)
HABITS = {  # the table of habits in plain patterns
    "clause as subject": r"(?:^|(?<=[.!?] ))(?:What [^.?!]{3,60}? (?:is|are|was|were|has|does) (?!.*\?)|Whoever )",
    "a loss or code that speaks": r"\b(?:loss(?:es)?|codes?|encoders?|decoders?|networks?|style|content|probes?|terms?)"
    r" (?:asks?|says?|tells?|lets? go|knows?)\b",
    "says of": r"\b(?:says?|said|tells?|knows?) (?:little |nothing |much |something )?of\b",
    "home-made word": r"\b(?:arrows?|clocks?|strangers?|slots?|leash|waves)\b|(?<!standard )\bdeviations?\b",
    "nothing but": r"(?i:\bnothing but\b)|\bno \w+ that does not\b",
    "what was wanted": r"\b(?:was|were) (?:asked for|wanted|missed|repaired|mended)\b",
}


@dataclasses.dataclass(frozen=True)
class Count:
    """What a reader has before them."""

    words: int
    equations: int
    code: int  # lines that are visible
    hidden: int  # lines that are not
    figures: int

    @property
    def minutes(self) -> float:
        """Of reading on the path."""
        return self.words / WORDS + EQUATION * self.equations + LINE * self.code + FIGURE * self.figures


def unfolded(text: str) -> str:
    """Markdown without what is folded; of other directives the body."""

    def directive(match: re.Match) -> str:
        if match["name"] in FOLDED or ":class: dropdown" in match["body"]:
            return ""
        if match["name"] in ("math", "code-cell", "mermaid", "tableofcontents"):
            return match[0]
        return re.sub(r"^:[\w-]+:[^\n]*\n", "", unfolded(match["body"]), flags=re.M)

    return FENCE.sub(directive, text)


def prose(text: str) -> str:
    """Sentences alone: no code, table, displayed equation or role; a formula in a line is one word."""
    text = re.sub(r"^(`{3,}).*?^\1[ \t]*$", "\n", text, flags=re.M | re.S)
    text = re.sub(r"^\$\$.*?\$\$|<!--.*?-->", "\n", text, flags=re.M | re.S)
    text = re.sub(r"^(?:\||#+ |:::|\(|---).*$", "\n", text, flags=re.M)
    text = re.sub(r"\{cite(?::t)?\}`[^`]*`", "", text)
    text = re.sub(r"\{[\w:]+\}`[^`]*`|\$[^$\n]+(?:\n[^$\n]+)?\$|`[^`]*`", "X", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*_]{1,2}([^*_\n]+)[*_]{1,2}", r"\1", text)


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs and list items, each on one line."""
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose(text)):
        line = re.sub(r"^\s*(?:[-*]|\d+\.) ", "", " ".join(block.split()))
        if re.search(r"[A-Za-z]{2}", line):
            yield line


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph."""
    safe = re.sub(r"\b(e\.g|i\.e|cf|Eq|vs|et al|Dr|St)\.", lambda match: match[0].replace(".", "·"), paragraph)
    return [found for found in re.split(r"(?<=[.!?])[\"”)]? +(?=[\"“(]?[A-Z0-9])", safe) if found.strip()]


def words(text: str) -> int:
    return len(re.findall(r"[A-Za-z0-9][\w'’.,–-]*", text))


def read(path: pathlib.Path) -> tuple[str, list]:
    """The text of a chapter or page on the path, and a chapter's code cells."""
    if path.parent.name != "notebooks":
        return unfolded(path.read_text(encoding="utf-8")), []
    cells = jupytext.read(path).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return unfolded(text), [cell for cell in cells if cell.cell_type == "code"]


def count(path: pathlib.Path) -> Count:
    """What a chapter holds."""
    text, cells = read(path)
    lines = {True: 0, False: 0}
    for cell in cells:
        tags = set(cell.metadata.get("tags", ()))
        shown = SOLUTION.sub("", cell.source)  # the page leaves it blank
        lines[bool(tags & HIDDEN)] += sum(bool(line.strip()) for line in shown.splitlines())
    figures = sum("plt.show()" in cell.source for cell in cells)
    equations = len(re.findall(r"^(?:`{3,}|:{3,})\{math\}|^\$\$", text, flags=re.M))
    return Count(sum(map(words, paragraphs(text))), equations, lines[False], lines[True], figures)


def faults(path: pathlib.Path) -> list[str]:
    """Sentences that are too long, paragraphs with too many semicolons, and habits: one line each."""
    found = []
    for paragraph in paragraphs(read(path)[0]):
        if paragraph.count(";") >= SEMICOLONS:
            found.append(f"{paragraph.count(';')} semicolons: {paragraph[:90]}")
        for sentence in sentences(paragraph):
            if words(sentence) > LONGEST:
                found.append(f"{words(sentence)} words: {sentence[:90]}")
        found += [f"{habit}: {match[0]} … {paragraph[:60]}" for habit, match in habits(paragraph)]
    return found


def habits(paragraph: str) -> Iterator[tuple[str, re.Match]]:
    for habit, pattern in HABITS.items():
        for match in re.finditer(pattern, paragraph):
            yield habit, match


def pages() -> list[pathlib.Path]:
    """Chapters, then prose pages."""
    return sorted((ROOT / "notebooks").glob("*.md")) + sorted((ROOT / "book").glob("*.md"))


def main(arguments: list[str] | None = None) -> int:
    command = argparse.ArgumentParser(description="Count what a reader reads, or list sentences to mend.")
    command.add_argument("chapters", nargs="*", metavar="CHAPTER", help="names of chapters or pages; none: the count")
    chosen = command.parse_args(arguments).chapters
    if chosen:
        for path in pages():
            if path.stem in chosen:
                print(f"{path.stem}", *faults(path), sep="\n  ")
        return 0
    rows = {}
    for path in pages():
        if path.parent.name == "notebooks":
            found = count(path)
            rows[path.stem] = dataclasses.asdict(found) | {"minutes": round(found.minutes, 1)}
            print(f"{path.stem:20}", rows[path.stem], len(faults(path)))
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {"before": rows}
    RECORD.write_text(json.dumps(record | {"now": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
