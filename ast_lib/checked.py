"""Checked fields: values of dataclasses in; the same values out, or one :class:`AstError` in one form.

The form is ``field: found value, accepted is ...``. A field's type is its range; pydantic checks it.
"""

import dataclasses
import difflib
import functools
import json
from typing import TypeVar

import pydantic
from pydantic.dataclasses import dataclass

from ast_lib.errors import AstError

# What pydantic words in one way for JSON and in another for Python.
SHAPES = {"tuple_type": "a list", "dataclass_type": "a table of fields", "dataclass_exact_type": "a table of fields"}

Kind = TypeVar("Kind")


def checked(kind: type) -> type:
    """Decorator: a frozen dataclass whose values pydantic checks; a wrong one raises :class:`AstError`."""
    kind = dataclass(frozen=True, config={"strict": True, "extra": "forbid", "allow_inf_nan": False})(kind)
    plain, names = kind.__init__, [field.name for field in dataclasses.fields(kind)]

    @functools.wraps(plain)
    def init(self, *args, **kwargs):
        try:
            # By name, which a message repeats.
            plain(self, *args[len(names) :], **dict(zip(names, args, strict=False)), **kwargs)
        except pydantic.ValidationError as error:
            raise problem(kind, error) from None

    kind.__init__ = init
    return kind


def from_values(kind: type[Kind], values: object) -> Kind:
    """An instance of a :func:`checked` class from nested dictionaries and lists, as JSON has them.

    Raises:
        AstError: for an unknown or missing field, or a value that is not accepted.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(values))
    except pydantic.ValidationError as error:
        raise problem(kind, error) from None


def to_dict(config: object) -> dict:
    """A :func:`checked` instance as nested dictionaries and lists, ready for JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def override(config: Kind, *assignments: str) -> Kind:
    """A copy with fields set from text such as ``"training.steps=50"``; values are JSON, or plain words.

    Raises:
        AstError: for text without ``=``, an unknown field or a value that is not accepted.
    """
    values = to_dict(config)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise AstError(f"variant: found {assignment!r}, accepted is field=value, such as training.steps=50")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        *parents, name = path.split(".")
        table = values
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise AstError(f"{path}: unknown field; {parent} has no fields")
        table[name] = value
    return from_values(type(config), values)


def problem(kind: type, error: pydantic.ValidationError) -> AstError:
    """The first error as one sentence: field, value found, what is accepted."""
    first = error.errors()[0]
    where, wrong = first["loc"] or ("configuration",), first["type"]
    if wrong == "missing" and isinstance(where[-1], int):  # an item of a list that is too short
        where, wrong = where[:-1], "too_short"
    *parents, name = where
    for parent in parents:  # a field of a section, or an item of a list
        kind = kind.__args__[0] if isinstance(parent, int) else kind.__pydantic_fields__[parent].annotation
    path = ".".join(map(str, where))
    fields = getattr(kind, "__pydantic_fields__", {})
    if wrong == "unexpected_keyword_argument":
        nearest = difflib.get_close_matches(str(name), fields, 1)
        meant = f"did you mean {'.'.join([*map(str, parents), *nearest])}?"
        return AstError(f"{path}: unknown field; " + (meant if nearest else f"accepted are {', '.join(fields)}"))
    if wrong == "missing":
        return AstError(f"{path}: missing; accepted are all of {', '.join(fields)}")
    accepted = getattr(fields.get(name), "description", None) or SHAPES.get(wrong)
    if not accepted and wrong in ("too_short", "too_long"):
        accepted = f"{len(fields[name].annotation.__args__)} values"
    accepted = accepted or first.get("ctx", {}).get("expected") or first["msg"].replace("Input should be ", "")
    return AstError(f"{path}: found {first['input']!r}, accepted is {accepted}")
