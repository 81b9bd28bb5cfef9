"""tools/prose.py: what a reader reads, counted on small pages."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))

import prose

PAGE = """# Title

One sentence of six words here. What is lost is the average. A loss says of the code that it is good; so; it; is.

```{math}
:label: one
x = y
```

````{admonition} Proof
:class: dropdown

This is folded and has words.

```{math}
z = 1
```
````

- An item with $x$ and {eq}`one`.
- Nothing but arrows.

```python
code = "is no prose. At all."
```
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "notebooks" / "01_page.md"
    path.parent.mkdir()
    hidden = "```{code-cell} ipython3\n:tags: [hide-input]\n\na = 1\n\nplt.show()\n```\n\n"
    path.write_text(PAGE + "\n" + hidden + "```{code-cell} ipython3\nb = 2\n```\n", encoding="utf-8")
    return path


def test_the_path_leaves_out_what_is_folded_or_hidden(page):
    found = prose.count(page)
    assert (found.equations, found.code, found.hidden, found.figures) == (1, 1, 2, 1)
    assert found.words == 6 + 6 + 13 + 6 + 3  # the title is no sentence, a formula one word
    assert found.minutes == pytest.approx(found.words / 200 + 0.5 + 1 / 15 + 0.3)


def test_long_sentences_semicolons_and_habits_are_found(page):
    faults = prose.faults(page)
    assert [fault.split(":")[0] for fault in faults] == [
        "3 semicolons",
        "clause as subject",
        "a loss or code that speaks",
        "says of",
        "home-made word",
        "nothing but",
    ]
    long = "Word " * 36 + "."
    page.write_text(long, encoding="utf-8")
    assert prose.faults(page)[0].startswith("36 words: Word Word")
    page.write_text("A standard deviation, e.g. 3 dB. " + "Word " * 35 + ".", encoding="utf-8")
    assert prose.faults(page) == []


def test_no_page_has_a_sentence_or_a_paragraph_that_is_too_long():
    found = {
        path.stem: [f for f in prose.faults(path) if f.split(":")[0].split()[-1] in ("words", "semicolons")]
        for path in prose.pages()
    }
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_habits_are_rare():
    read, total = [], 0
    for path in prose.pages():
        for paragraph in prose.paragraphs(prose.read(path)[0]):
            total += prose.words(paragraph)
            read += [f"{path.stem}: {match[0]}" for _, match in prose.habits(paragraph)]
    assert len(read) <= total / prose.RARE, read


def test_every_chapter_is_read_in_25_minutes_and_hides_most_of_its_code():
    for path in (page for page in prose.pages() if page.parent.name == "notebooks"):
        found = prose.count(path)
        assert found.minutes <= 25, path.stem
        assert found.code <= 0.4 * (found.code + found.hidden), path.stem


def test_the_count_is_that_of_the_chapters():
    now = json.loads(prose.RECORD.read_text(encoding="utf-8"))["now"]
    counted = {path.stem: prose.count(path) for path in prose.pages() if path.parent.name == "notebooks"}
    assert {name: row["words"] for name, row in now.items()} == {name: found.words for name, found in counted.items()}
