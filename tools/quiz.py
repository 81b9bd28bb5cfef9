"""The directive ``{quiz}``: a question with answers to choose from, checked on the page by ``book/_static/quiz.js``.

::

    :::{quiz} The question?
    :label: quiz-short-name
    - [ ] A wrong answer :: why it is wrong.
    - [x] The right answer :: why it is right.
    :::

It is a fieldset of radio buttons. Without scripts, and on paper, the answers stand below it.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ITEM = re.compile(r"- \[(?P<mark>[ xX])\] +(?P<text>.*)")


class QuizError(ValueError):
    """What is wrong with a quiz, in one sentence."""


class Answer(NamedTuple):
    """One answer to choose, and why it is right or wrong."""

    right: bool
    text: str
    reason: str


def answers(lines: Sequence[str]) -> list[Answer]:
    """The answers that the lines of a quiz list; a line that is indented goes on with the one above.

    Raises:
        QuizError: for a line that is no answer, an answer without a reason, fewer than two answers, or not one right.
    """
    items: list[list[str]] = []
    for line in lines:
        match = ITEM.fullmatch(line.rstrip())
        if match:
            items.append([match["mark"], match["text"]])
        elif line.strip() and items and line[0] in " \t":
            items[-1].append(line.strip())
        elif line.strip():
            raise QuizError(f"found the line {line.strip()!r}, accepted are '- [ ] answer :: reason' and '- [x] ...'")
    found = []
    for mark, *parts in items:
        text, separator, reason = " ".join(parts).partition(" :: ")
        if not separator or not text.strip() or not reason.strip():
            raise QuizError(f"the answer {text.strip()!r} has no reason; accepted is 'answer :: reason'")
        found.append(Answer(mark != " ", text.strip(), reason.strip()))
    right = sum(answer.right for answer in found)
    if len(found) < 2 or right != 1:
        raise QuizError(f"found {len(found)} answers, {right} of them right; accepted are two or more, one right")
    return found


def check(question: str, label: str, lines: Sequence[str]) -> list[Answer]:
    """:func:`answers` of a quiz that has a question and a label.

    Raises:
        QuizError: as :func:`answers`, and for a question or a label that is missing.
    """
    if not question.strip():
        raise QuizError("found no question after {quiz}")
    if not re.fullmatch(r"quiz-[a-z0-9-]+", label):
        raise QuizError(f"found the label {label!r}, accepted is one such as quiz-short-name")
    return answers(lines)


class Element(nodes.General, nodes.TextElement):
    """An element of HTML: its ``tag``, its attributes in ``html``, its children."""


def element(tag: str, *children: nodes.Node, **attributes: str) -> Element:
    """An :class:`Element`; underscores of attributes' names become hyphens, and ``class_`` is ``class``."""
    html = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    return Element("", "", *children, tag=tag, html=html)


class Quiz(SphinxDirective):
    """See the module."""

    required_arguments = 0
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = {"label": str}
    has_content = True

    def inline(self, text: str, tag: str, **attributes: str) -> Element:
        children, messages = self.state.inline_text(text, self.lineno)
        return element(tag, *children, *messages, **attributes)

    def run(self) -> list[nodes.Node]:
        question, label = self.arguments[0] if self.arguments else "", self.options.get("label", "")
        try:
            found = check(question, label, self.content)
        except QuizError as error:
            raise self.error(f"quiz: {error}") from error
        fieldset = element("fieldset", self.inline(question, "legend"), class_="quiz", id=label)
        for number, answer in enumerate(found):
            right = {"data_right": ""} if answer.right else {}
            button = element("input", type="radio", name=label, value=str(number), **right)
            fieldset += element("label", button, self.inline(answer.text, "span"))
        fieldset += element("button", nodes.Text("Check"), type="button", hidden="")
        fieldset += element("div", class_="quiz-feedback", role="status")
        listed = element("ol")
        for answer in found:
            verdict = element("strong", nodes.Text("Right. " if answer.right else "Wrong. "))
            listed += element("li", self.inline(f"{answer.text}:", "span"), nodes.Text(" "), verdict)
            listed[-1] += self.inline(answer.reason, "span", class_="quiz-reason")
        fieldset += element("details", element("summary", nodes.Text("Answers")), listed)
        printed = next(answer for answer in found if answer.right)
        fieldset += self.inline(f"Answer: {printed.text} – {printed.reason}", "p", class_="quiz-printed")
        return [fieldset]


def visit(translator: nodes.NodeVisitor, node: Element):
    attributes = "".join(f' {name}="{translator.attval(value)}"' for name, value in node["html"].items())
    translator.body.append(f"<{node['tag']}{attributes}>")


def depart(translator: nodes.NodeVisitor, node: Element):
    if node["tag"] != "input":
        translator.body.append(f"</{node['tag']}>")


def setup(app: Sphinx) -> dict:
    app.add_node(Element, html=(visit, depart))
    app.add_directive("quiz", Quiz)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
