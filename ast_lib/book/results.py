"""Results as data: one record for each number that a page shows.

Chapters write ``results/<chapter>.json``; pages and the README show numbers from there and from nowhere else. A system
is ``source_copy``, ``ceiling``, ``nmf``, ``quick``, ``full``, ``paper``, ...; the suffix ``_predicted_phase`` marks
results whose phase is not refined, ``_teacher_forced`` those of a decoder that was fed the truth.
"""

import collections
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pydantic
from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt

from ast_lib.errors import AstError
from ast_lib.files import ROOT, write_bytes

DECIMALS = 4  # kept in a file; numbers below 1 keep 4 significant digits
UNITS = {"lsd": "dB"}  # of the evaluation's metrics; the others are plain numbers
Name = Annotated[str, Field(pattern="^[a-z0-9]+(_[a-z0-9]+)*$")]  # such as piano_to_violin


def output_folder(profile: str, output: str = "") -> pathlib.Path:
    """Where a chapter writes: ``build/<profile>`` of the repository, or the folder ``output``; created when missing.

    Raises:
        AstError: when the folder cannot be made.
    """
    folder = pathlib.Path(output) if output else ROOT / "build" / profile
    try:
        for part in ("results", "weights", "audio"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstError(f"output: {folder} cannot be a folder to write to: {error}") from error
    return folder


@pydantic.dataclasses.dataclass(frozen=True, config={"strict": True, "extra": "forbid"})
class Record:
    """One measured number.

    Attributes:
        metric: what was measured (``lsd``, ``chroma_cosine``, ...).
        task: ``piano_to_violin``, ``violin_to_piano``, ``<instrument>_reconstruction`` or another plain name.
        system: what produced the audio (see the module).
        value: mean.
        std: sample standard deviation over the ``n`` values; 0 for one value.
        n: number of values behind the mean.
        unit: ``dB``, ``s``, ...; ``1`` for a plain number.
        profile: ``paper`` for numbers as published.
        weights: name of the weights; ``none`` where nothing was learnt.
        seed: of the run.

    Raises:
        pydantic.ValidationError: for a field of another type or outside these ranges.
    """

    metric: Name
    task: Name
    system: Name
    value: FiniteFloat
    std: Annotated[FiniteFloat, Field(ge=0)]
    n: PositiveInt
    unit: str
    profile: Literal["smoke", "quick", "full", "paper"]
    weights: Annotated[str, Field(min_length=1)]
    seed: NonNegativeInt

    @property
    def key(self) -> tuple:
        """What tells this record from every other one of a file; files are sorted by it."""
        return (self.metric, self.task, self.system, self.profile, self.weights, self.seed)

    @property
    def text(self) -> str:
        """``value ± std`` for a page, with 1 decimal from 10 on, 2 from 1 on, else 3."""
        decimals = 1 if abs(self.value) >= 10 else 2 if abs(self.value) >= 1 else 3
        return f"{self.value:.{decimals}f} ± {self.std:.{decimals}f}"


RECORDS = pydantic.TypeAdapter(list[Record])


def summarise(values: Sequence[float] | np.ndarray, *, metric: str, task: str, system: str, **rest) -> Record:
    """Mean and sample standard deviation (divisor ``n - 1``) of one value a clip, as a :class:`Record`.

    Args:
        values: at least one.
        metric, task, system: of the record; ``rest``: its unit, profile, weights and seed.

    Raises:
        AstError: for no values, or values that are not finite numbers.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    if not values.size or not np.isfinite(values).all():
        raise AstError(
            f"{metric} of {system} on {task}: found {values.size} values, of which "
            f"{np.count_nonzero(~np.isfinite(values))} are not finite; accepted are 1 or more finite numbers"
        )
    std = float(values.std(ddof=1)) if values.size > 1 else 0.0
    names = {"metric": metric, "task": task, "system": system}
    return Record(**names, value=float(values.mean()), std=std, n=values.size, **rest)


def of_table(table: pd.DataFrame, *, prefix: str = "", **rest) -> list[Record]:
    """:func:`summarise` every metric, task and system of a table of :mod:`ast_lib.evaluation.systems`.

    Args:
        table: with the columns ``metric, task, system, value``.
        prefix: before the metrics' names.
        rest: profile, weights and seed of the records.
    """
    return [
        summarise(group["value"], metric=prefix + metric, task=task, system=system, unit=UNITS.get(metric, "1"), **rest)
        for (metric, task, system), group in table.groupby(["metric", "task", "system"])
    ]


def _round(value: float) -> float:
    """To 4 decimals, small numbers to 4 significant digits: enough to print, too few to differ between machines."""
    digits = DECIMALS if abs(value) >= 1 or value == 0 else DECIMALS - 1 - math.floor(math.log10(abs(value)))
    return round(float(value), digits)


def _refuse_doubles(where: object, records: list[Record]):
    """Raise :class:`AstError` where two records have the same :attr:`Record.key`."""
    for key, count in collections.Counter(record.key for record in records).items():
        if count > 1:
            raise AstError(f"{where}: {count} records are all {', '.join(map(str, key))}")


def write(path: str | os.PathLike, records: Iterable[Record]) -> pathlib.Path:
    """Write records as a JSON list, sorted, numbers rounded: the same results give the same bytes.

    Missing folders are made.

    Raises:
        AstError: when two records have the same :attr:`Record.key`, or the file cannot be written.
    """
    path = pathlib.Path(path)
    records = sorted(records, key=lambda record: record.key)
    _refuse_doubles(path, records)
    rounded = [dataclasses.replace(record, value=_round(record.value), std=_round(record.std)) for record in records]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstError(f"{path}: the folder {path.parent} could not be made: {error.strerror}") from error
    # One record a line, so that a change of one number is a change of one line.
    rows = [json.dumps(dataclasses.asdict(record), ensure_ascii=False) for record in rounded]
    return write_bytes(path, ("[\n" + ",\n".join(rows) + "\n]\n").encode())


def read(path: str | os.PathLike) -> list[Record]:
    """The records of a file that :func:`write` wrote.

    Raises:
        AstError: when the file is missing or not JSON, or a record lacks a key, has another one or a wrong value.
    """
    try:
        return RECORDS.validate_json(pathlib.Path(path).read_bytes())
    except OSError as error:
        raise AstError(f"{path}: not readable: {error.strerror}") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = [f"record {part}" if isinstance(part, int) else part for part in first["loc"]]
        found = f"found {first['input']!r}: " if first["type"] not in ("missing", "json_invalid") else ""
        raise AstError(f"{': '.join([str(path), *where])}: {found}{first['msg']}") from error


def to_frame(records: Iterable[Record], column: str = "value") -> pd.DataFrame:
    """A table: a row for each task and system, a column for each metric (with its unit).

    Args:
        records: any; where they come from several profiles, weights or seeds, those are parts of the row's name too.
        column: what fills the cells: ``value``, ``std``, ``n`` or ``text`` (``value ± std``).

    Raises:
        AstError: for another ``column``, or for two records of the same key.
    """
    if column not in ("value", "std", "n", "text"):
        raise AstError(f"column: found {column!r}, accepted are value, std, n, text")
    records = list(records)
    _refuse_doubles("records", records)
    names = [field.name for field in dataclasses.fields(Record)]
    table = pd.DataFrame(
        [dataclasses.asdict(record) | {"text": record.text} for record in records], columns=[*names, "text"]
    )
    units = table["unit"].map(lambda unit: f" [{unit}]" if unit not in ("", "1") else "")
    varying = [name for name in ("profile", "weights", "seed") if table[name].nunique() > 1]
    return table.assign(metric=table["metric"] + units).pivot(
        index=["task", "system", *varying], columns="metric", values=column
    )
