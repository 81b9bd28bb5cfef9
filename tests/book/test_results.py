"""Records and their files: what is accepted, what is refused and how it is rounded and written."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ast_lib.book import results
from ast_lib.book.results import Record
from ast_lib.errors import AstError

GOOD = {
    "metric": "lsd",
    "task": "piano_to_violin",
    "system": "quick",
    "value": 11.9,
    "std": 1.3,
    "n": 40,
    "unit": "dB",
    "profile": "quick",
    "weights": "quick-0",
    "seed": 0,
}


def record(**changes):
    return Record(**(GOOD | changes))


def test_keys_and_their_order_are_the_ones_of_the_issue():
    assert list(dataclasses.asdict(record())) == list(GOOD)


@pytest.mark.parametrize(
    "task",
    [
        "piano_to_violin",
        "violin_to_piano",
        "piano_reconstruction",
        "violin_reconstruction",
        "flute_to_cello",
        "73_to_piano",
        "training",
    ],
)
def test_tasks_are_plain_names(task):
    assert record(task=task).task == task


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", float("nan")),
        ("value", float("inf")),
        ("value", "11.9"),
        ("value", True),
        ("value", None),
        ("std", -0.1),
        ("std", float("nan")),
        ("n", 0),
        ("n", 1.0),
        ("n", True),
        ("task", "piano to violin"),
        ("task", ""),
        ("task", "piano_"),
        ("metric", "LSD"),
        ("system", "quick__x"),
        ("unit", None),
        ("profile", "fast"),
        ("weights", ""),
        ("seed", -1),
        ("seed", 0.5),
    ],
)
def test_a_bad_field_is_refused_by_name_and_value(tmp_path, field, value):
    with pytest.raises(ValidationError) as caught:
        record(**{field: value})
    assert [(error["loc"], repr(error["input"])) for error in caught.value.errors()] == [((field,), repr(value))]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps([GOOD, GOOD | {field: value}]))
    with pytest.raises(AstError, match=re.escape(f"bad.json: record 1: {field}: found {value!r}: ")) as caught:
        results.read(path)
    assert "\n" not in str(caught.value)


def test_a_record_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        record().value = 1.0


def test_the_mean_and_the_sample_deviation_are_summarised():
    found = results.summarise([1, 2, 3, 6], **{k: v for k, v in GOOD.items() if k not in ("value", "std", "n")})
    assert (found.value, found.n) == (3, 4)
    assert found.std == pytest.approx(np.sqrt(14 / 3))  # divisor n - 1
    assert found.unit == "dB" and found.weights == "quick-0"


def test_one_value_has_no_deviation_and_none_or_nan_are_refused():
    rest = {k: v for k, v in GOOD.items() if k not in ("value", "std", "n")}
    one = results.summarise(np.float32([2.5]), **rest)
    assert (one.value, one.std, one.n) == (2.5, 0.0, 1)
    with pytest.raises(AstError, match="lsd of quick on piano_to_violin: found 0 values"):
        results.summarise([], **rest)
    with pytest.raises(AstError, match="found 3 values, of which 2 are not finite"):
        results.summarise([1, np.nan, np.inf], **rest)


def test_a_table_becomes_a_record_for_every_metric_task_and_system():
    rows = [("a", "lsd", 8.0), ("b", "lsd", 10.0), ("a", "onset_f1", 0.5)]
    table = pd.DataFrame(rows, columns=["piece", "metric", "value"]).assign(task="piano_to_violin", system="quick")
    table = pd.concat([table, table[:1].assign(system="ceiling", value=2.0)])
    run = {"profile": "quick", "weights": "quick-0", "seed": 5}
    found = {(r.metric, r.system): r for r in results.of_table(table, **run)}
    assert set(found) == {("lsd", "quick"), ("lsd", "ceiling"), ("onset_f1", "quick")}
    lsd = found["lsd", "quick"]
    assert (lsd.value, lsd.std, lsd.n, lsd.unit) == (9.0, pytest.approx(2**0.5), 2, "dB")
    assert (lsd.profile, lsd.weights, lsd.seed, lsd.task) == ("quick", "quick-0", 5, "piano_to_violin")
    assert found["onset_f1", "quick"].unit == "1" and found["lsd", "ceiling"].value == 2
    assert {r.metric for r in results.of_table(table, prefix="unseen_", **run)} == {"unseen_lsd", "unseen_onset_f1"}


def test_a_file_is_read_as_it_was_written(tmp_path):
    records = [
        record(),
        record(system="source_copy", value=18.6, weights="none"),
        record(metric="chroma_cosine", unit="1"),
    ]
    path = results.write(tmp_path / "new" / "15_listening.json", records)
    assert results.read(path) == sorted(records, key=lambda r: r.key)
    assert [r["metric"] for r in json.loads(path.read_text())] == ["chroma_cosine", "lsd", "lsd"]


def test_the_order_given_does_not_change_the_bytes(tmp_path):
    records = [
        record(system=name) for name in ("quick", "ceiling", "nmf", "quick_predicted_phase", "quick_teacher_forced")
    ]
    first = results.write(tmp_path / "a.json", records).read_bytes()
    assert results.write(tmp_path / "b.json", records[::-1]).read_bytes() == first
    assert results.write(tmp_path / "c.json", results.read(tmp_path / "a.json")).read_bytes() == first


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (141.14621, 141.1462),
        (0.0038, 0.0038),
        (-0.056, -0.056),
        (0.123456, 0.1235),
        (0.000123456, 0.0001235),
        (0.0, 0.0),
    ],
)
def test_numbers_are_rounded(tmp_path, value, kept):
    (found,) = results.read(results.write(tmp_path / "a.json", [record(value=value)]))
    assert found.value == kept


@given(value=st.floats(-1e6, 1e6), std=st.floats(0, 1e6))
def test_rounding_twice_is_rounding_once(value, std):
    once = results._round(value), results._round(std)
    assert tuple(map(results._round, once)) == once
    assert once == pytest.approx((value, std), rel=1e-3, abs=5e-5)


def test_two_records_of_one_key_are_refused(tmp_path):
    with pytest.raises(AstError, match="2 records are all lsd, piano_to_violin, quick"):
        results.write(tmp_path / "a.json", [record(), record(value=3.0)])
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = results.write(tmp_path / "a.json", [record()])
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AstError, match=r"a\.json: could not be written: No space left on device"):
        results.write(path, [record(value=1.0)])
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AstError, match="could not be made"):
        results.write(tmp_path / "file" / "a.json", [record()])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JSON"),
        ("[{", "Invalid JSON"),
        ("{}", "found {}: Input should be a valid array"),
        ("[3]", "record 0: found 3"),
        (json.dumps([{k: v for k, v in GOOD.items() if k != "seed"}]), "record 0: seed: "),
        (json.dumps([GOOD, GOOD | {"extra": 1}]), "record 1: extra: found 1: "),
        (json.dumps([GOOD | {"n": "40"}]), "record 0: n: found '40': Input should be a valid integer"),
    ],
)
def test_a_broken_file_is_refused_with_its_name(tmp_path, text, message):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(AstError, match=message) as caught:
        results.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(AstError, match=r"none\.json: not readable"):
        results.read(tmp_path / "none.json")


def test_an_integer_value_is_a_number():
    assert record(value=3, std=0).value == 3


def test_the_table_has_tasks_and_systems_down_and_metrics_across():
    records = [
        record(),
        record(task="violin_to_piano", value=9.1),
        record(metric="chroma_cosine", unit="1", value=0.88, std=0.0321),
        record(system="ceiling", value=2.1),
    ]
    table = results.to_frame(records)
    assert list(table.columns) == ["chroma_cosine", "lsd [dB]"]
    assert table.index.names == ["task", "system"]
    assert table.loc[("piano_to_violin", "quick")].tolist() == [0.88, 11.9]
    assert table.loc[("violin_to_piano", "quick"), "lsd [dB]"] == 9.1
    assert np.isnan(table.loc[("piano_to_violin", "ceiling"), "chroma_cosine"])
    text = results.to_frame(records, "text")
    assert text.loc[("piano_to_violin", "quick")].tolist() == ["0.880 ± 0.032", "11.9 ± 1.3"]
    assert results.to_frame(records, "n").loc[("piano_to_violin", "quick"), "lsd [dB]"] == 40


def test_rows_are_told_apart_by_what_varies():
    table = results.to_frame([record(), record(seed=1, value=12.4)])
    assert table.index.names == ["task", "system", "seed"]
    assert table["lsd [dB]"].tolist() == [11.9, 12.4]
    with pytest.raises(AstError, match="records: 2 records are all"):
        results.to_frame([record(), record()])
    with pytest.raises(AstError, match="column: found 'mean'"):
        results.to_frame([record()], "mean")
    assert results.to_frame([]).empty
