"""The manifest: what goes in comes out, moves with its folder, and every wrong field is named."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_lib import audio
from ast_lib.data import manifest
from ast_lib.data.clips import PairedClip
from ast_lib.data.manifest import SPLITS, Clip
from ast_lib.data.recordings import load_clip
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError

RATE = 22050


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


BAD_FIELDS = [
    ("id", "", "a text that is not empty"),
    ("dataset", 3, "a text that is not empty"),
    ("piece", "  ", "a text that is not empty"),
    ("instrument", None, "a text that is not empty"),
    ("path", ["a.wav"], "a text that is not empty"),
    ("start", -0.1, "a number of seconds, 0 or more"),
    ("start", "1", "a number of seconds, 0 or more"),
    ("start", float("nan"), "a number of seconds, 0 or more"),
    ("seconds", 0, "a number of seconds above 0"),
    ("seconds", True, "a number of seconds above 0"),
    ("seconds", float("inf"), "a number of seconds above 0"),
    ("sample_rate", 44100.0, "a whole number of hertz above 0"),
    ("sample_rate", 0, "a whole number of hertz above 0"),
    ("split", "valid", "'', 'train', 'validation', 'test'"),
    ("rms", 0, "a number above 0"),
]


@pytest.mark.parametrize(("field", "value", "accepted"), BAD_FIELDS)
def test_a_wrong_field_is_named_with_its_line(tmp_path, field, value, accepted):
    path = tmp_path / "m.jsonl"
    good = dataclasses.asdict(clip())
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, "id": "set/2", "piece": "b", field: value}) + "\n")
    with pytest.raises(AstError) as error:
        manifest.read_manifest(path)
    assert str(error.value) == f"{path}, line 2, field {field}: found {value!r}, accepted is {accepted}"


@pytest.mark.parametrize(("field", "value", "accepted"), BAD_FIELDS)
def test_a_wrong_field_is_not_written(tmp_path, field, value, accepted):
    with pytest.raises(AstError, match=f"clip 1, field {field}: found "):
        manifest.write_manifest(tmp_path / "m.jsonl", [clip(**{field: value})])
    assert not list(tmp_path.iterdir())


def test_missing_and_unknown_fields_are_named(tmp_path):
    record = dataclasses.asdict(clip())
    record["license"] = record.pop("licence")
    (tmp_path / "m.jsonl").write_text(json.dumps(record))
    with pytest.raises(AstError, match="line 1: found no field licence, the unknown field license; accepted are"):
        manifest.read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"id": ', "line 1: not JSON"),
        (b"[1, 2]", r"line 1: found \[1, 2\], accepted is an object"),
        (b"\xff\xfe", "not UTF-8 text from byte 0 on"),
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
    with pytest.raises(AstError, match=r"clip 2, field id: found 'set/0', which .*clip 1 has too"):
        manifest.write_manifest(path, [clip(number=0), clip(number=0)])
    leak = [clip(number=0), clip(number=1, piece="piece 0", split="test")]
    with pytest.raises(AstError, match="clip 2, field split: found 'test' for the piece 'piece 0', which is in 'tr"):
        manifest.write_manifest(path, leak)
    path.write_text("".join(json.dumps(dataclasses.asdict(c)) + "\n" for c in leak))
    with pytest.raises(AstError, match="line 2, field split: found 'test'.*line 1; a piece is in one split only"):
        manifest.read_manifest(path)
    # Another dataset's piece of the same name is another piece.
    manifest.write_manifest(path, [clip(number=0), clip(number=1, piece="piece 0", split="test", dataset="other")])


def test_an_older_manifest_survives_a_failed_write(tmp_path):
    path = manifest.write_manifest(tmp_path / "m.jsonl", [clip()])
    with pytest.raises(AstError):
        manifest.write_manifest(path, [clip(rms=-1)])
    assert manifest.read_manifest(path) == [clip()]


def test_rendered_clips_have_the_same_manifest(tmp_path):
    time = np.arange(RATE) / RATE
    sounds = {
        name: (0.07 * np.sqrt(2) * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
        for name, pitch in (("piano", 440), ("violin", 660))
    }
    notes = Notes(np.zeros(1), np.ones(1), np.array([69]), np.array([80]))
    pairs = [PairedClip(f"fiddle/{i}", "fiddle", notes, sounds) for i in range(2)]
    clips = manifest.save_rendered(pairs, tmp_path, "test")
    assert manifest.read_manifest(manifest.write_manifest(tmp_path / "m.jsonl", clips)) == clips
    assert [(c.piece, c.instrument, c.split, c.seconds) for c in clips] == [
        (f"fiddle/{i}", name, "test", 1.0) for i in range(2) for name in ("piano", "violin")
    ]
    for made in clips:
        assert made.rms == pytest.approx(0.07, abs=1e-4)
        # 16 bits and the RMS of a whole number of periods: the same sound comes back.
        assert load_clip(made) == pytest.approx(sounds[made.instrument], abs=1e-3)
        assert len(audio.load(made.path)) == RATE


def test_rendered_clips_need_a_known_split(tmp_path):
    with pytest.raises(AstError, match=f"split: found 'dev', accepted are {', '.join(SPLITS)}"):
        manifest.save_rendered([], tmp_path, "dev")
