"""Results as data: one record for each number that a page shows.

Chapters write ``results/<chapter>.json``; pages and the README show numbers from there and from nowhere else. A system
is ``source_copy``, ``ceiling``, ``nmf``, ``quick``, ``full``, ``paper``, ...; the suffix ``_predicted_phase`` marks
results whose phase is not refined, ``_teacher_forced`` those of a decoder that was fed the truth.
"""

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ast_lib.errors import AstError
from ast_lib.files import write_bytes

PROFILES = ("smoke", "quick", "full", "paper")
DECIMALS = 4  # kept in a file; numbers below 1 keep 4 significant digits
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


@dataclasses.dataclass(frozen=True)
class Record:
    """One measured number.

    Attributes:
        metric: what was measured, in lower case with underscores (``lsd``, ``chroma_cosine``, ...).
        task: ``piano_to_violin``, ``violin_to_piano``, ``<instrument>_reconstruction`` or another plain name.
        system: what produced the audio (see the module).
        value: mean, finite.
        std: sample standard deviation over the ``n`` values; 0 for one value.
        n: number of values behind the mean, at least 1.
        unit: ``dB``, ``s``, ...; ``1`` for a plain number.
        profile: ``smoke``, ``quick``, ``full``, or ``paper`` for numbers as published.
        weights: name of the weights; ``none`` where nothing was learnt.
        seed: of the run.

    Raises:
        AstError: for a field of another type or outside these ranges.
    """

    metric: str
    task: str
    system: str
    value: float
    std: float
    n: int
    unit: str
    profile: str
    weights: str
    seed: int

    def __post_init__(self):
        for field in dataclasses.fields(self):
            found = getattr(self, field.name)
            accepted = (int, float) if field.type is float else field.type
            # A bool is an int to Python, but true is no number of clips.
            if not isinstance(found, accepted) or isinstance(found, bool):
                raise AstError(f"{field.name}: found {found!r}, accepted is of type {field.type.__name__}")
        for name in ("metric", "task", "system"):
            if not _NAME.fullmatch(getattr(self, name)):
                raise AstError(
                    f"{name}: found {getattr(self, name)!r}, accepted are names such as 'piano_to_violin': "
                    "lower-case letters, digits and single underscores"
                )
        rules = {
            "value": (math.isfinite(self.value), "a finite number"),
            "std": (math.isfinite(self.std) and self.std >= 0, "a finite number of 0 or more"),
            "n": (self.n >= 1, "1 or more"),
            "profile": (self.profile in PROFILES, ", ".join(PROFILES)),
            "weights": (bool(self.weights), "a name, 'none' where nothing was learnt"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (fine, accepted) in rules.items():
            if not fine:
                raise AstError(f"{name}: found {getattr(self, name)!r}, accepted is {accepted}")

    @property
    def key(self) -> tuple:
        """What tells this record from every other one of a file; files are sorted by it."""
        return (self.metric, self.task, self.system, self.profile, self.weights, self.seed)

    @property
    def text(self) -> str:
        """``value ± std`` for a page, with 1 decimal from 10 on, 2 from 1 on, else 3."""
        decimals = 1 if abs(self.value) >= 10 else 2 if abs(self.value) >= 1 else 3
        return f"{self.value:.{decimals}f} ± {self.std:.{decimals}f}"


def summarise(
    values: Sequence[float] | np.ndarray,
    *,
    metric: str,
    task: str,
    system: str,
    unit: str,
    profile: str,
    weights: str,
    seed: int,
) -> Record:
    """Mean and sample standard deviation (divisor ``n - 1``) of one value a clip, as a :class:`Record`.

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
    return Record(metric, task, system, float(values.mean()), std, values.size, unit, profile, weights, seed)


def _round(value: float) -> float:
    """To 4 decimals, small numbers to 4 significant digits: enough to print, too few to differ between machines."""
    digits = DECIMALS if abs(value) >= 1 or value == 0 else DECIMALS - 1 - math.floor(math.log10(abs(value)))
    return round(float(value), digits)


def write(path: str | os.PathLike, records: Iterable[Record]) -> pathlib.Path:
    """Write records as a JSON list, sorted, numbers rounded: the same results give the same bytes.

    Missing folders are made.

    Raises:
        AstError: when two records have the same :attr:`Record.key`, or the file cannot be written.
    """
    path = pathlib.Path(path)
    records = sorted(records, key=lambda record: record.key)
    for first, second in zip(records, records[1:], strict=False):
        if first.key == second.key:
            raise AstError(f"{path}: two records are both {', '.join(map(str, first.key))}")
    rows = [
        json.dumps(
            {
                name: _round(found) if name in ("value", "std") else found
                for name, found in dataclasses.asdict(record).items()
            },
            ensure_ascii=False,
        )
        for record in records
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstError(f"{path}: the folder {path.parent} could not be made: {error.strerror}") from error
    # One record a line, so that a change of one number is a change of one line.
    return write_bytes(path, ("[\n" + ",\n".join(rows) + "\n]\n").encode())


def read(path: str | os.PathLike) -> list[Record]:
    """The records of a file that :func:`write` wrote.

    Raises:
        AstError: when the file is missing or not JSON, or a record lacks a key, has another one or a wrong value.
    """
    path = pathlib.Path(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AstError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(rows, list):
        raise AstError(f"{path}: found a {type(rows).__name__}, accepted is a list of records")
    wanted = [field.name for field in dataclasses.fields(Record)]
    records = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise AstError(f"{path}: record {index}: found {row!r}, accepted is an object")
        if set(row) != set(wanted):
            missing, extra = [name for name in wanted if name not in row], sorted(set(row) - set(wanted))
            raise AstError(f"{path}: record {index}: missing keys {missing}, unknown keys {extra}")
        try:
            records.append(Record(**row))
        except AstError as error:
            raise AstError(f"{path}: record {index}: {error}") from error
    return records


def to_frame(records: Iterable[Record], column: str = "value") -> pd.DataFrame:
    """A table: a row for each task and system, a column for each metric (with its unit).

    Args:
        records: any; where they come from several profiles, weights or seeds, those are parts of the row's name too.
        column: what fills the cells: ``value``, ``std``, ``n`` or ``text`` (``value ± std``).

    Raises:
        AstError: for another ``column``, or for two records of the same key.
    """
    records = list(records)
    if column not in ("value", "std", "n", "text"):
        raise AstError(f"column: found {column!r}, accepted are value, std, n, text")
    if len({record.key for record in records}) < len(records):
        raise AstError("records: two of them have the same metric, task, system, profile, weights and seed")
    varying = [name for name in ("profile", "weights", "seed") if len({getattr(r, name) for r in records}) > 1]
    index = ["task", "system", *varying]
    rows = [
        {name: getattr(record, name) for name in index}
        | {"metric": f"{record.metric} [{record.unit}]" if record.unit not in ("", "1") else record.metric}
        | {column: getattr(record, column)}
        for record in records
    ]
    return pd.DataFrame(rows, columns=[*index, "metric", column]).pivot(index=index, columns="metric", values=column)


UNITS = {"lsd": "dB"}  # of the evaluation's metrics; the others are plain numbers


def of_table(table: pd.DataFrame, *, prefix: str = "", profile: str, weights: str, seed: int) -> list[Record]:
    """Mean and standard deviation of every metric, task and system of a table of :mod:`ast_lib.evaluation.systems`.

    Args:
        table: with the columns ``metric, task, system, value``.
        prefix: before the metrics' names.
        profile, weights, seed: of the records.
    """
    run = {"profile": profile, "weights": weights, "seed": seed}
    return [
        summarise(group["value"], metric=prefix + metric, task=task, system=system, unit=UNITS.get(metric, "1"), **run)
        for (metric, task, system), group in table.groupby(["metric", "task", "system"])
    ]
