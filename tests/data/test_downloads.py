"""Downloads from a server on this machine: right, wrong, cut off and missing files; archives that mean harm."""

import functools
import hashlib
import http.server
import io
import pathlib
import stat
import threading
import zipfile

import pytest

from ast_lib.data import downloads
from ast_lib.errors import AstError


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder in silence; a path that ends in ``?cut`` is promised whole and sent in half."""

    def log_message(self, *args):
        pass

    def do_GET(self):  # noqa: N802
        if self.path.endswith("?no-scripts") and self.headers["User-Agent"].startswith("python-requests"):
            return self.send_error(403)
        if not self.path.endswith("?cut"):
            return super().do_GET()
        data = pathlib.Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder, and its address; the server ends with the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def md5(data):
    return hashlib.md5(data).hexdigest()


def archive(entries, path=None):
    """A zip file from ``{name or ZipInfo: content}``, as bytes, and written to ``path``."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    if path:
        path.write_bytes(memory.getvalue())
    return memory.getvalue()


def empty(folder):
    return not folder.exists() or not list(folder.iterdir())


# --- download


def test_a_file_is_fetched_once(server, tmp_path):
    folder, address = server
    (folder / "a.bin").write_bytes(b"x" * 5000)
    path = downloads.download(f"{address}/a.bin?download=1", tmp_path / "new" / "in", md5(b"x" * 5000), quiet=True)
    assert path == tmp_path / "new" / "in" / "a.bin" and path.read_bytes() == b"x" * 5000
    (folder / "a.bin").unlink()
    # It is there already and right: nobody asks the server again. Capital letters are the same sum.
    again = downloads.download(f"{address}/a.bin", path.parent, md5(b"x" * 5000).upper(), quiet=True)
    assert again == path and [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    folder, address = server
    (folder / "a.bin").write_bytes(b"right")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.bin").write_bytes(b"wrong")
    assert downloads.download(f"{address}/a.bin", tmp_path / "here", md5(b"right"), quiet=True).read_bytes() == b"right"


def test_a_wrong_checksum_is_told_and_nothing_kept(server, tmp_path):
    folder, address = server
    (folder / "a.bin").write_bytes(b"other")
    with pytest.raises(AstError) as error:
        downloads.download(f"{address}/a.bin", tmp_path / "to", md5(b"expected"), "ask the author", quiet=True)
    assert str(error.value) == (
        f"a.bin: found the MD5 sum {md5(b'other')}, accepted is {md5(b'expected')}; ask the author"
    )
    assert empty(tmp_path / "to")


def test_a_download_cut_off_is_told_and_nothing_kept(server, tmp_path):
    folder, address = server
    (folder / "a.bin").write_bytes(bytes(100000))
    with pytest.raises(AstError, match="a.bin"):
        downloads.download(f"{address}/a.bin?cut", tmp_path / "to", md5(bytes(100000)), quiet=True)
    assert empty(tmp_path / "to")


def test_a_server_that_refuses_scripts_is_told_another_name(server, tmp_path):
    folder, address = server
    (folder / "a.bin").write_bytes(b"x" * 100)
    path = downloads.download(f"{address}/a.bin?no-scripts", tmp_path / "to", md5(b"x" * 100), quiet=True)
    assert path.read_bytes() == b"x" * 100


def test_addresses_that_lead_nowhere(server, tmp_path):
    _, address = server
    for url in (f"{address}/none.bin", "http://127.0.0.1:9/a.bin", "gopher://127.0.0.1/a.bin"):
        with pytest.raises(AstError, match=f"{url}: could not be downloaded"):
            downloads.download(url, tmp_path / "to", "0" * 32, quiet=True)
    assert empty(tmp_path / "to")


def test_a_folder_that_cannot_be_written(server, tmp_path):
    folder, address = server
    (folder / "a.bin").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AstError, match="a.bin: could not be downloaded to .*file"):
        downloads.download(f"{address}/a.bin", tmp_path / "file" / "in", md5(b"x"), quiet=True)


@pytest.mark.parametrize("wrong", ["", "abc", "g" * 32, "0" * 40])
def test_what_is_no_md5_sum(tmp_path, wrong):
    with pytest.raises(AstError, match="md5: found .*accepted are 32 hexadecimal digits"):
        downloads.download("http://127.0.0.1:9/a", tmp_path, wrong)


# --- unzip


def test_archives_come_out_as_they_went_in(tmp_path):
    archive({"a.txt": "one", "in/b.txt": "two", "in/deeper/": ""}, tmp_path / "a.zip")
    folder = downloads.unzip(tmp_path / "a.zip", tmp_path / "out")
    assert folder == tmp_path / "out"
    assert (folder / "a.txt").read_text() == "one" and (folder / "in" / "b.txt").read_text() == "two"
    assert (folder / "in" / "deeper").is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "out"]


def test_one_folder_around_everything_is_not_repeated(tmp_path):
    archive({"dataset-v1/info.csv": "x", "dataset-v1/audio/a.wav": "y"}, tmp_path / "a.zip")
    folder = downloads.unzip(tmp_path / "a.zip", tmp_path / "out")
    assert sorted(p.name for p in folder.iterdir()) == ["audio", "info.csv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "out"]


def entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def test_what_a_mac_adds_is_left_out(tmp_path):
    added = {"__MACOSX/data/._a.txt": "mac", "data/.DS_Store": "mac", "data/sub/._b.txt": "mac", "__MACOSX/._data": "m"}
    archive({"data/a.txt": "a", "data/sub/b.txt": "b", **added}, tmp_path / "a.zip")
    out = downloads.unzip(tmp_path / "a.zip", tmp_path / "out")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == ["a.txt", "sub", "sub/b.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil.txt", "leaves the folder"),
        ("in/../../evil.txt", "leaves the folder"),
        ("/evil.txt", "leaves the folder"),
        ("..\\evil.txt", "leaves the folder"),
        ("C:\\evil.txt", "leaves the folder"),
        (entry("link", stat.S_IFLNK | 0o777), "is a link or a device"),
        (entry("pipe", stat.S_IFIFO | 0o644), "is a link or a device"),
    ],
)
def test_archives_that_mean_harm_are_refused_whole(tmp_path, name, message):
    place = tmp_path / "deep" / "place"
    place.mkdir(parents=True)
    archive({"good.txt": "good", name: "/etc/passwd"}, place / "a.zip")
    with pytest.raises(AstError, match=f"a.zip: found the entry .*{message}"):
        downloads.unzip(place / "a.zip", place / "out")
    assert [p.name for p in place.iterdir()] == ["a.zip"] and [p.name for p in tmp_path.rglob("evil*")] == []


def test_an_encrypted_entry_is_refused(tmp_path):
    data = bytearray(archive({"a.txt": "secret"}))
    # The flag stands in the local header and in the central directory.
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(AstError, match="a.zip: found the entry 'a.txt', which is encrypted"):
        downloads.unzip(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_archive_leaves_nothing(tmp_path, share):
    data = archive({f"{i}.bin": bytes([i]) * 1000 for i in range(20)})
    (tmp_path / "a.zip").write_bytes(data[: int(share * len(data))])
    with pytest.raises(AstError, match="a.zip: not a complete zip file .*download it again"):
        downloads.unzip(tmp_path / "a.zip", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("where", [0.2, 0.5, 0.8])
def test_a_damaged_entry_leaves_nothing(tmp_path, where):
    noise = hashlib.shake_128(b"seed").digest(30000)
    data = bytearray(archive({"good.txt": "good", "noise.bin": noise}))
    place = int(where * 30000)
    data[place : place + 50] = bytes(50)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(AstError, match="a.zip: not a complete zip file"):
        downloads.unzip(tmp_path / "a.zip", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    archive({"a.bin": bytes(10**6)}, tmp_path / "a.zip")
    usage = downloads.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: usage._replace(free=10**5))
    with pytest.raises(AstError, match="unpacked it takes 1,000,000 bytes, .* has 100,000 left"):
        downloads.unzip(tmp_path / "a.zip", tmp_path / "out")
    monkeypatch.undo()

    def full(self, folder, entries):
        (folder / "half.bin").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(AstError, match="a.zip: could not be unpacked into .*out .No space left on device"):
        downloads.unzip(tmp_path / "a.zip", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_an_existing_folder_is_never_touched(tmp_path):
    archive({"a.txt": "new"}, tmp_path / "a.zip")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("old")
    for folder in (tmp_path / "out", tmp_path / "no" / "such"):
        with pytest.raises(AstError, match="accepted is a name that is still free, in a folder that exists"):
            downloads.unzip(tmp_path / "a.zip", folder)
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    with pytest.raises(AstError, match="none.zip: no such file"):
        downloads.unzip(tmp_path / "none.zip", tmp_path / "new")


# --- the Bach Violin Dataset


def test_the_dataset_is_fetched_unpacked_and_then_left_alone(server, tmp_path):
    folder, address = server
    data = archive({"bach-violin/info.csv": "filename", "bach-violin/audio.csv": "filename"}, folder / "b.zip")
    root = downloads.download_bach_violin(tmp_path / "data", f"{address}/b.zip", md5(data), quiet=True)
    assert root == tmp_path / "data" / "bach-violin" and (root / "audio.csv").read_text() == "filename"
    (folder / "b.zip").unlink()
    (tmp_path / "data" / "b.zip").unlink()
    assert downloads.download_bach_violin(tmp_path / "data", f"{address}/b.zip", md5(data)) == root


def test_an_unconfirmed_checksum_is_called_so(server, tmp_path):
    folder, address = server
    data = archive({"info.csv": "x"}, folder / "b.zip")
    with pytest.raises(AstError) as error:
        downloads.download_bach_violin(tmp_path / "data", f"{address}/b.zip", quiet=True)
    message = str(error.value)
    assert f"found the MD5 sum {md5(data)}, accepted is {downloads.BACH_VIOLIN_MD5}" in message
    assert "reported by a third party and is not confirmed" in message and "give it as md5" in message
    assert empty(tmp_path / "data")


def test_another_archive_is_not_taken_for_the_dataset(server, tmp_path):
    folder, address = server
    data = archive({"readme.txt": "x"}, folder / "b.zip")
    with pytest.raises(AstError, match="bach-violin: found no info.csv"):
        downloads.download_bach_violin(tmp_path / "data", f"{address}/b.zip", md5(data), quiet=True)
