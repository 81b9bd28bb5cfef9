"""Readers of datasets: who plays what, which files are one piece, which split is official, what is missing."""

import pytest

from ast_lib.data import readers
from ast_lib.data.recordings import assign_splits, cut
from ast_lib.errors import AstError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


# --- a folder for each instrument


def test_a_folder_for_each_instrument(tmp_path):
    touch(tmp_path, "piano/b.wav", "piano/a.FLAC", "piano/cover.jpg", "piano/.hidden.wav", ".git/x.wav", "readme.txt")
    touch(tmp_path, "shakuhachi/a.mp3", "shakuhachi/a.ogg", "shakuhachi/c.opus")
    found = readers.instrument_folders(tmp_path, dataset="mine", licence="CC0")
    assert found.left_out == {readers.NO_AUDIO: ["piano/cover.jpg"]}
    assert [(r.id, r.instrument, r.piece) for r in found.items] == [
        ("mine/piano/a.FLAC", "piano", "a"),
        ("mine/piano/b.wav", "piano", "b"),
        ("mine/shakuhachi/a.mp3", "shakuhachi", "a"),
        ("mine/shakuhachi/a.ogg", "shakuhachi", "a"),
        ("mine/shakuhachi/c.opus", "shakuhachi", "c"),
    ]
    assert found.items[0].path == tmp_path / "piano" / "a.FLAC"
    assert {(r.dataset, r.licence, r.start, r.end, r.split) for r in found.items} == {("mine", "CC0", 0.0, None, "")}


def test_folders_in_folders_and_what_phones_and_macs_write(tmp_path):
    touch(tmp_path, "violin/a.m4a", "violin/day 1/a.AIF", "violin/day 1/b.wma", "violin/b.webm", "violin/notes.pdf")
    touch(tmp_path, "violin/.cache/x.wav", "violin/__MACOSX/._a.wav", "__MACOSX/violin/._a.m4a", "violin/day 1/._b.wma")
    found = readers.instrument_folders(tmp_path)
    assert [(r.id, r.piece) for r in found.items] == [
        ("folders/violin/a.m4a", "a"),
        ("folders/violin/b.webm", "b"),
        ("folders/violin/day 1/a.AIF", "day 1/a"),
        ("folders/violin/day 1/b.wma", "day 1/b"),
    ]
    assert str(found) == "4 kept; 1 left out: without an audio file's extension (violin/notes.pdf)"


def test_folders_without_instruments_or_audio_are_refused(tmp_path):
    with pytest.raises(AstError, match="none: found no folder in it"):
        readers.instrument_folders(tmp_path / "none")
    touch(tmp_path, "loose.wav")
    with pytest.raises(AstError, match="found no folder in it, accepted is one for each instrument"):
        readers.instrument_folders(tmp_path)
    touch(tmp_path, "piano/a.wav", "violin/notes.mid")
    with pytest.raises(
        AstError, match="violin: found no audio file, accepted are .wav, .flac, .mp3, .ogg, .opus, .aif, .*, .m4a"
    ):
        readers.instrument_folders(tmp_path)


def test_empty_files_of_a_folder_are_named_when_cut(tmp_path):
    listed = readers.instrument_folders(touch(tmp_path, "violin/a.wav", "violin/b.mp3")).items
    with pytest.raises(AstError, match=r"2 of 2 are unreadable \(.*a.wav.*b.mp3"):
        cut(listed)


# --- ViolinEtudes


@pytest.mark.parametrize("inside", ["", "original/"])
def test_etudes_are_grouped_by_book_and_number(tmp_path, inside):
    names = [
        "DanclaOp84/No01/028zC_Oo3WNhE00000128.mp3",
        "DanclaOp84/No01/03R3oiZurfeUE00000039.wav",
        "DanclaOp84/No02/02Lmzo1Kg18eU00000132.mp3",
        "DontOp35/No02/027kzeoNuwBKE00000113.mp3",
        "KreutzerVol.1/No.2.mp3",
    ]
    touch(tmp_path, *(inside + name for name in names))
    if inside:
        touch(tmp_path, "resynth/DanclaOp84/No01/028zC_Oo3WNhE00000128.RESYN.wav")
    found = readers.violin_etudes(tmp_path).items
    assert [r.piece for r in found] == [
        "DanclaOp84/No01",
        "DanclaOp84/No01",
        "DanclaOp84/No02",
        "DontOp35/No02",
        "KreutzerVol.1/No.2",
    ]
    assert [r.id for r in found] == [f"violin-etudes/{name}" for name in names]
    assert {r.instrument for r in found} == {"violin"} and all(r.path.is_file() for r in found)


def test_etudes_outside_a_book_are_refused(tmp_path):
    with pytest.raises(AstError, match="found no audio file"):
        readers.violin_etudes(tmp_path)
    touch(tmp_path, "loose.mp3")
    with pytest.raises(AstError, match="loose.mp3: found 0 folders above it, accepted is <book>/<number>/<file>"):
        readers.violin_etudes(tmp_path)
    with pytest.raises(AstError, match="none: found no audio file"):
        readers.violin_etudes(tmp_path / "none")


# --- PianoMotion10M


def piano_motion(root, train="1033 BV1a\n1033 BV1b\n", valid="2084 BV1c\n", test="2084 BV1d\n"):
    for name, text in (("train", train), ("valid", valid), ("test", test)):
        (root / f"{name}.txt").write_text(text)
    return root


def test_official_splits_by_video(tmp_path):
    piano_motion(tmp_path)
    touch(tmp_path, "audio/1033/BV1a/BV1a_seq_0001.mp3", "audio/1033/BV1a/BV1a_seq_0000.mp3")
    touch(tmp_path, "audio/2084/BV1c/BV1c_seq_0000.mp3", "audio/2084/BV1d/BV1d_seq_0000.mp3")
    touch(tmp_path, "audio/2084/BV1x/BV1x_seq_0000.mp3", "midi/2084/BV1c.mid")
    found = readers.piano_motion(tmp_path)
    assert [(r.id, r.piece, r.split) for r in found.items] == [
        ("piano-motion/1033/BV1a/BV1a_seq_0000.mp3", "1033/BV1a", "train"),
        ("piano-motion/1033/BV1a/BV1a_seq_0001.mp3", "1033/BV1a", "train"),
        ("piano-motion/2084/BV1c/BV1c_seq_0000.mp3", "2084/BV1c", "validation"),
        ("piano-motion/2084/BV1d/BV1d_seq_0000.mp3", "2084/BV1d", "test"),
    ]
    assert {r.instrument for r in found.items} == {"piano"}
    assert found.left_out == {"missing": ["1033/BV1b"]}


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"valid": "2084 BV1c\n2084\n"}, "valid.txt, line 2: found '2084', accepted is an uploader and a new video"),
        ({"test": "1 2 3"}, "test.txt, line 1: found '1 2 3'"),
        ({"train": "1033 ../../secret"}, "train.txt, line 1: found '1033 ../../secret'"),
        ({"train": ".. BV1a"}, "train.txt, line 1: found '.. BV1a'"),
        ({"test": "\n1033 BV1a\n"}, "test.txt, line 2: found '1033 BV1a', accepted is an uploader and a new"),
    ],
)
def test_wrong_lists_are_named_with_the_line(tmp_path, lists, message):
    piano_motion(tmp_path, **lists)
    with pytest.raises(AstError) as error:
        readers.piano_motion(tmp_path)
    assert message in str(error.value)


def test_lists_of_a_windows_editor(tmp_path):
    piano_motion(tmp_path)
    touch(tmp_path, "audio/1033/BV1a/BV1a_seq_0000.mp3")
    (tmp_path / "train.txt").write_bytes("1033 BV1a\r\n1033 BV1b\r\n".encode("utf-8-sig"))
    found = readers.piano_motion(tmp_path)
    assert [r.piece for r in found.items] == ["1033/BV1a"] and found.left_out["missing"][0] == "1033/BV1b"
    (tmp_path / "valid.txt").write_bytes("2084 BV1c\r\n".encode("utf-16"))
    with pytest.raises(AstError, match=r"valid.txt: found no text \('utf-8' codec .*\), accepted is the official list"):
        readers.piano_motion(tmp_path)


def test_missing_lists_are_named(tmp_path):
    piano_motion(tmp_path)
    (tmp_path / "valid.txt").unlink()
    with pytest.raises(AstError, match=r"valid.txt: found no text \(.*No such file.*\), accepted is the official list"):
        readers.piano_motion(tmp_path)


def test_official_splits_survive_cutting_and_dealing(tmp_path):
    """From lists to clips: the published recipe on a made-up copy."""
    import numpy as np
    import soundfile

    piano_motion(tmp_path)
    signal = 0.1 * np.sin(np.arange(8000 * 12) / 5)
    for video in ("1033/BV1a", "1033/BV1b", "2084/BV1c", "2084/BV1d"):
        for number in range(3):
            path = touch(tmp_path, f"audio/{video}/{video[5:]}_seq_000{number}.wav") / "audio" / video
            soundfile.write(path / f"{video[5:]}_seq_000{number}.wav", signal, 8000)
    clips = assign_splits(cut(readers.piano_motion(tmp_path).items).items, seed=0)
    assert [(c.piece, c.split) for c in clips] == [
        ("1033/BV1a", "train"),
        ("1033/BV1b", "train"),
        ("2084/BV1c", "validation"),
        ("2084/BV1d", "test"),
    ]
    assert all(c.id.endswith("_seq_0001.wav#1") and c.start == pytest.approx(1) for c in clips)
