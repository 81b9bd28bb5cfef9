"""The manifest: what goes in comes out, moves with its folder, and every wrong field is named."""

import dataclasses
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_lib.data import manifest
from ast_lib.data.manifest import Clip
from ast_lib.errors import AstError


def clip(folder="/data", number=0, **changes):
    fields = {
        "id": f"set/{number}",
        "dataset": "set",
        "piece": f"piece {number}",
        "instrument": "violin",
        "path": f"{folder}/{number}.wav",
        "start": 1.5,
        "seconds": 10.0,
        "sample_rate": 44100,
        "licence": "CC BY",
        "split": "train",
        "rms": 0.11,
    }
    return Clip(**{**fields, **changes})


def test_round_trip(tmp_path):
    clips = [clip(tmp_path, 0), clip("/elsewhere", 1, split="", instrument="Geige è", start=0)]
    path = manifest.write_manifest(tmp_path / "clips.jsonl", clips)
    assert manifest.read_manifest(path) == clips
    assert [p.name for p in tmp_path.iterdir()] == ["clips.jsonl"]
    # As an editor on Windows saves it.
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert manifest.read_manifest(path) == clips


@given(
    start=st.floats(0, 1e5),
    seconds=st.floats(1e-3, 1e5),
    rms=st.floats(1e-9, 10),
    name=st.text(min_size=1).filter(lambda text: text.strip()),
)
def test_numbers_and_texts_survive_exactly(tmp_path_factory, start, seconds, rms, name):
    folder = tmp_path_factory.mktemp("manifest")
    made = clip(folder, start=start, seconds=seconds, rms=rms, piece=name, id=name)
    assert manifest.read_manifest(manifest.write_manifest(folder / "m.jsonl", [made])) == [made]


def test_a_folder_can_move_with_its_manifest(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    manifest.write_manifest(old / "m.jsonl", [clip(old / "audio", 0), clip("/elsewhere", 1)])
    old.rename(new)
    assert [c.path for c in manifest.read_manifest(new / "m.jsonl")] == [
        str(new / "audio" / "0.wav"),
        "/elsewhere/1.wav",
    ]


def test_pandas_reads_it(tmp_path):
    path = manifest.write_manifest(tmp_path / "m.jsonl", [clip(number=0), clip(number=1, split="test")])
    table = pd.read_json(path, lines=True)
    assert list(table.columns) == [field.name for field in dataclasses.fields(Clip)]
    assert table["seconds"].tolist() == [10.0, 10.0] and table["split"].tolist() == ["train", "test"]


def test_an_empty_manifest_has_no_clips(tmp_path):
    assert manifest.read_manifest(manifest.write_manifest(tmp_path / "m.jsonl", [])) == []


TEXT, ABOVE_0 = "a text that is not blank", "a number above 0"
BAD_FIELDS = [
    ("id", "", TEXT),
    ("dataset", 3, TEXT),
    ("piece", "  ", TEXT),
    ("instrument", None, TEXT),
    ("path", ["a.wav"], TEXT),
    ("start", -0.1, "a number of 0 or more"),
    ("start", "1", "a number of 0 or more"),
    ("start", float("nan"), "a number of 0 or more"),
    ("seconds", 0, ABOVE_0),
    ("seconds", True, ABOVE_0),
    ("seconds", float("inf"), ABOVE_0),
    ("sample_rate", 44100.0, "a whole number of 1 or more"),
    ("sample_rate", 0, "a whole number of 1 or more"),
    ("split", "valid", "'', 'train', 'validation' or 'test'"),
    ("rms", 0, ABOVE_0),
]


@pytest.mark.parametrize(("field", "value", "accepted"), BAD_FIELDS)
def test_a_wrong_field_is_named_with_its_line(tmp_path, field, value, accepted):
    path = tmp_path / "m.jsonl"
    good = dataclasses.asdict(clip())
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, "id": "set/2", "piece": "b", field: value}) + "\n")
    with pytest.raises(AstError) as error:
        manifest.read_manifest(path)
    assert str(error.value) == f"{path}, line 2, {field}: found {value!r}, accepted is {accepted}"


@pytest.mark.parametrize(("field", "value", "accepted"), BAD_FIELDS)
def test_a_wrong_field_makes_no_clip(field, value, accepted):
    with pytest.raises(AstError) as error:
        clip(**{field: value})
    assert str(error.value) == f"{field}: found {value!r}, accepted is {accepted}"


def test_missing_and_unknown_fields_are_named(tmp_path):
    record = dataclasses.asdict(clip())
    record["license"] = record.pop("licence")
    (tmp_path / "m.jsonl").write_text(json.dumps(record))
    with pytest.raises(AstError, match="line 1, licence: missing; accepted are all of id, dataset"):
        manifest.read_manifest(tmp_path / "m.jsonl")
    record["licence"] = "PD"
    (tmp_path / "m.jsonl").write_text(json.dumps(record))
    with pytest.raises(AstError, match="line 1, license: unknown field; did you mean licence?"):
        manifest.read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"id": ', "m.jsonl, line 1, Expecting value"),
        (b"[1, 2]", r"m.jsonl, line 1, .*found \[1, 2\], accepted is a table of fields"),
        (b"\xff\xfe", "m.jsonl, line 1, Expecting value"),
        (b'{"id": "\xff"}', "m.jsonl, line 1, 'utf-8' codec can't decode"),
    ],
)
def test_what_is_not_a_manifest_is_refused(tmp_path, text, message):
    (tmp_path / "m.jsonl").write_bytes(text)
    with pytest.raises(AstError, match=message):
        manifest.read_manifest(tmp_path / "m.jsonl")


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(AstError, match="none.jsonl: no such manifest"):
        manifest.read_manifest(tmp_path / "none.jsonl")


def test_an_id_is_used_once_and_a_piece_is_in_one_split(tmp_path):
    path = tmp_path / "m.jsonl"
    with pytest.raises(AstError, match="m.jsonl, field id: found 'set/0' twice"):
        manifest.write_manifest(path, [clip(number=0), clip(number=0)])
    leak = [clip(number=0), clip(number=1, piece="piece 0", split="test")]
    message = "m.jsonl, field split: found two for the piece 'piece 0', accepted is one"
    with pytest.raises(AstError, match=message):
        manifest.write_manifest(path, leak)
    path.write_text("".join(json.dumps(dataclasses.asdict(c)) + "\n" for c in leak))
    with pytest.raises(AstError, match=message):
        manifest.read_manifest(path)
    # Another dataset's piece of the same name is another piece.
    manifest.write_manifest(path, [clip(number=0), clip(number=1, piece="piece 0", split="test", dataset="other")])


def test_an_older_manifest_survives_a_failed_write(tmp_path):
    path = manifest.write_manifest(tmp_path / "m.jsonl", [clip()])
    with pytest.raises(AstError):
        manifest.write_manifest(path, [clip(), clip()])
    assert manifest.read_manifest(path) == [clip()]
