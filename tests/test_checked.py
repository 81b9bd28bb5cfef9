"""Checked fields: one sentence for whatever is wrong, the same from the constructor, from values and from text."""

import math
from typing import Annotated, Literal

import pytest
from pydantic import Field

from ast_lib.checked import checked, from_values, override, to_dict
from ast_lib.config import Count, NonNegative, Share
from ast_lib.errors import AstError


@checked
class Note:
    pitch: Annotated[int, Field(ge=0, le=127, description="a MIDI number from 0 to 127")]
    loudness: Share = 0.5


@checked
class Part:
    notes: tuple[Note, ...] = ()
    clef: Literal["treble", "bass"] = "treble"
    transposed: bool = False


@checked
class Score:
    title: str
    part: Part = Part()
    tempo: NonNegative = 120.0
    pages: Count = 1
    metre: tuple[int, int] = (4, 4)


def refusal(action) -> str:
    """The one-line message with which an action is refused."""
    with pytest.raises(AstError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- What goes in comes out


def test_values_become_instances_and_come_back():
    score = Score("air", Part((Note(60), Note(64, 1.0)), "bass"), tempo=90.5)
    assert from_values(Score, to_dict(score)) == score
    assert to_dict(score)["part"]["notes"][1] == {"pitch": 64, "loudness": 1.0}
    assert from_values(Score, {"title": "air"}) == Score("air")


def test_a_whole_number_is_a_number_and_a_truth_value_is_none():
    score = override(Score("air"), "tempo=60")
    assert score.tempo == 60.0 and type(score.tempo) is float
    assert refusal(lambda: override(score, "tempo=true")) == "tempo: found True, accepted is a number of 0 or more"


# --- One message, wherever the value comes from

WRONG = [
    ("pages", 0, "pages: found 0, accepted is a whole number of 1 or more"),
    ("pages", -3, "pages: found -3, accepted is a whole number of 1 or more"),
    ("pages", 1.5, "pages: found 1.5, accepted is a whole number of 1 or more"),
    ("pages", "2", "pages: found '2', accepted is a whole number of 1 or more"),
    ("pages", True, "pages: found True, accepted is a whole number of 1 or more"),
    ("pages", None, "pages: found None, accepted is a whole number of 1 or more"),
    ("tempo", -0.5, "tempo: found -0.5, accepted is a number of 0 or more"),
    ("tempo", math.nan, "tempo: found nan, accepted is a number of 0 or more"),
    ("tempo", math.inf, "tempo: found inf, accepted is a number of 0 or more"),
    ("tempo", "fast", "tempo: found 'fast', accepted is a number of 0 or more"),
    ("title", 3, "title: found 3, accepted is a valid string"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_constructor_values_and_text_give_the_same_message(field, value, message):
    assert refusal(lambda: Score(**{"title": "air"} | {field: value})) == message
    assert refusal(lambda: from_values(Score, {"title": "air"} | {field: value})) == message
    text = {math.nan: "NaN", math.inf: "Infinity", True: "true", None: "null", "2": '"2"'}.get(value, value)
    assert refusal(lambda: override(Score("air"), f"{field}={text}")) == message


def test_a_choice_is_refused_with_the_accepted_ones():
    message = "clef: found 'alto', accepted is 'treble' or 'bass'"
    assert refusal(lambda: Part(clef="alto")) == message
    assert refusal(lambda: from_values(Score, {"title": "air", "part": {"clef": "alto"}})) == f"part.{message}"
    assert refusal(lambda: override(Score("air"), "part.clef=alto")) == f"part.{message}"


def test_a_truth_value_is_no_number():
    for value in (0, 1, "yes"):
        found = refusal(lambda value=value: Part(transposed=value))
        assert found == f"transposed: found {value!r}, accepted is a valid boolean"


# --- Fields


def test_an_unknown_field_is_named_with_the_nearest_at_any_depth():
    nearest = "part.cleff: unknown field; did you mean part.clef?"
    assert refusal(lambda: from_values(Score, {"title": "air", "part": {"cleff": "bass"}})) == nearest
    assert refusal(lambda: override(Score("air"), "part.cleff=bass")) == nearest
    assert refusal(lambda: Part(cleff="bass")) == "cleff: unknown field; did you mean clef?"
    assert refusal(lambda: override(Score("air"), "tmpo=1")) == "tmpo: unknown field; did you mean tempo?"


def test_an_unknown_field_like_no_other_is_named_with_all_that_there_are():
    expected = "part.xyz: unknown field; accepted are notes, clef, transposed"
    assert refusal(lambda: override(Score("air"), "part.xyz=1")) == expected
    assert refusal(lambda: override(Score("air"), "xyz.q.r=1")).startswith("xyz: unknown field; accepted are title, ")


def test_a_missing_field_is_named():
    expected = "title: missing; accepted are all of title, part, tempo, pages, metre"
    assert refusal(lambda: from_values(Score, {})) == refusal(Score) == expected


def test_an_item_of_a_list_is_named_by_its_index():
    notes = [{"pitch": 60}, {"pitch": 128}]
    expected = "part.notes.1.pitch: found 128, accepted is a MIDI number from 0 to 127"
    assert refusal(lambda: from_values(Score, {"title": "air", "part": {"notes": notes}})) == expected
    assert refusal(lambda: override(Score("air"), 'part.notes=[{"pitch": 60}, {"pitch": 128}]')) == expected
    missing = refusal(lambda: override(Score("air"), 'part.notes=[{"loudness": 1}]'))
    assert missing == "part.notes.0.pitch: missing; accepted are all of pitch, loudness"
    unknown = refusal(lambda: override(Score("air"), 'part.notes=[{"pitch": 60, "pich": 1}]'))
    assert unknown == "part.notes.0.pich: unknown field; did you mean part.notes.0.pitch?"
    assert refusal(lambda: override(Score("air"), 'metre=[4, "a"]')).startswith("metre.1: found 'a', accepted is ")


@pytest.mark.parametrize("values", [5, [], "air", None])
def test_what_is_no_table_is_named(values):
    found = f"found {values!r}, accepted is a table of fields"
    assert refusal(lambda: from_values(Score, values)) == f"configuration: {found}"
    assert refusal(lambda: from_values(Score, {"title": "air", "part": values})) == f"part: {found}"
    assert refusal(lambda: Score("air", part=values)) == f"part: {found}"


@pytest.mark.parametrize("values", [(), (4,), (4, 4, 4)])
def test_a_list_of_the_wrong_length_is_named(values):
    expected = "metre: found {}, accepted is 2 values"
    assert refusal(lambda: override(Score("air"), f"metre={list(values)}")) == expected.format(list(values))
    assert refusal(lambda: Score("air", metre=values)) == expected.format(values)


def test_what_is_no_list_is_named():
    assert refusal(lambda: override(Score("air"), "metre=4")) == "metre: found 4, accepted is a list"
    assert refusal(lambda: override(Score("air"), "part.notes=all")) == "part.notes: found 'all', accepted is a list"


# --- Text


def test_text_that_sets_nothing_is_refused():
    expected = "variant: found 'tempo', accepted is field=value, such as training.steps=50"
    assert refusal(lambda: override(Score("air"), "tempo")) == expected
    assert refusal(lambda: override(Score("air"), "tempo.q=1")) == "tempo.q: unknown field; tempo has no fields"


def test_what_is_set_together_is_checked_together():
    score = override(Score("air"), "title=gigue", "part.clef=bass", "metre=[6, 8]")
    assert score == Score("gigue", Part(clef="bass"), metre=(6, 8))
