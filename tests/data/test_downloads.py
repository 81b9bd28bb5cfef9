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


def archive(entries):
    """A zip file from ``{name or ZipInfo: content}``, as bytes."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return memory.getvalue()


def empty(folder):
    return not folder.exists() or not list(folder.iterdir())


def fetch(server, data, tmp_path, md5_sum=None, query=""):
    """Serve ``data`` as an archive and download it into ``tmp_path/to``."""
    folder, address = server
    (folder / "b.zip").write_bytes(data)
    return downloads.download_bach_violin(tmp_path / "to", f"{address}/b.zip{query}", md5_sum or md5(data))


def unpacked(tmp_path):
    return (tmp_path / "to" / "bach-violin").exists()


GOOD = {"bach-violin/info.csv": "filename", "bach-violin/audio/a.wav": "sound"}


# --- the right archive


@pytest.mark.parametrize("query", ["", "?download=1", "?no-scripts"])
def test_the_dataset_is_fetched_unpacked_and_then_left_alone(server, tmp_path, query):
    data = archive(GOOD)
    # Capital letters are the same sum.
    root = fetch(server, data, tmp_path, md5(data).upper(), query)
    assert root == tmp_path / "to" / "bach-violin" and (root / "audio" / "a.wav").read_text() == "sound"
    assert sorted(path.name for path in root.parent.iterdir()) == ["bach-violin", "bach-violin.zip"]
    (root.parent / "bach-violin.zip").unlink()
    (root / "info.csv").write_text("mine")
    assert downloads.download_bach_violin(tmp_path / "to", "http://127.0.0.1:9/b.zip") == root
    assert (root / "info.csv").read_text() == "mine"


@pytest.mark.parametrize("top", ["", "dataset-v1/", "some/where/"])
def test_folders_around_the_dataset_are_not_repeated(server, tmp_path, top):
    added = {"__MACOSX/data/._info.csv": "mac", f"{top}.DS_Store": "mac"}
    root = fetch(server, archive({f"{top}info.csv": "x", f"{top}notes/b.csv": "y", **added}), tmp_path)
    assert (root / "info.csv").read_text() == "x" and (root / "notes" / "b.csv").read_text() == "y"


def test_a_damaged_archive_from_before_is_fetched_again(server, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "bach-violin.zip").write_bytes(b"half")
    assert (fetch(server, archive(GOOD), tmp_path) / "info.csv").is_file()


# --- the wrong one


def test_a_wrong_checksum_is_told_with_where_to_look_and_nothing_kept(server, tmp_path):
    data = archive(GOOD)
    with pytest.raises(AstError) as error:
        fetch(server, data, tmp_path, downloads.BACH_VIOLIN_MD5)
    message = str(error.value)
    assert md5(data) in message and downloads.BACH_VIOLIN_MD5 in message
    assert "the one of https://zenodo.org/records/6050245" in message and "reported by a third party" in message
    assert empty(tmp_path / "to")


def test_a_download_cut_off_is_told_and_nothing_kept(server, tmp_path):
    with pytest.raises(AstError, match="b.zip.cut: could not be fetched"):
        fetch(server, archive(GOOD | {"noise": bytes(100000)}), tmp_path, query="?cut")
    assert empty(tmp_path / "to")


def test_addresses_that_lead_nowhere(server, tmp_path):
    for url in (f"{server[1]}/none.zip", "http://127.0.0.1:9/a.zip", "gopher://127.0.0.1/a.zip"):
        with pytest.raises(AstError, match=f"{url}: could not be fetched"):
            downloads.download_bach_violin(tmp_path / "to", url, "0" * 32)
    assert empty(tmp_path / "to")


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "to").write_bytes(b"")
    with pytest.raises(AstError, match="could not be fetched and unpacked into .*bach-violin"):
        fetch(server, archive(GOOD), tmp_path)


@pytest.mark.parametrize("name", ["../evil.txt", "in/../../../evil.txt", "/evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_what_an_archive_has_beside_the_dataset_is_written_nowhere(server, tmp_path, name):
    root = fetch(server, archive(GOOD | {f"../../{name}": "harm", name: "harm"}), tmp_path)
    assert (root / "info.csv").is_file() and not list(tmp_path.rglob("*evil*"))
    assert not pathlib.Path("/evil.txt").exists()


def test_a_link_in_an_archive_becomes_a_file(server, tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    path = fetch(server, archive({"info.csv": "x", link: "/etc/passwd"}), tmp_path) / "link"
    assert path.is_file() and not path.is_symlink() and path.read_text() == "/etc/passwd"


def test_an_encrypted_entry_is_refused(server, tmp_path):
    data = bytearray(archive({"info.csv": "secret"}))
    # The flag stands in the local header and in the central directory.
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(AstError, match="info.csv.* is encrypted"):
        fetch(server, bytes(data), tmp_path)
    assert not unpacked(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_archive_leaves_nothing(server, tmp_path, share):
    data = archive({"info.csv": "x", **{f"{i}.bin": bytes([i]) * 1000 for i in range(20)}})
    with pytest.raises(AstError, match="could not be fetched and unpacked"):
        fetch(server, data[: int(share * len(data))], tmp_path)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["bach-violin.zip"]


@pytest.mark.parametrize("where", [0.2, 0.5, 0.8])
def test_a_damaged_entry_leaves_nothing(server, tmp_path, where):
    noise = hashlib.shake_128(b"seed").digest(30000)
    data = bytearray(archive({"info.csv": "good", "noise.bin": noise}))
    place = int(where * 30000)
    data[place : place + 50] = bytes(50)
    with pytest.raises(AstError, match="could not be fetched and unpacked"):
        fetch(server, bytes(data), tmp_path)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["bach-violin.zip"]


def test_a_full_disk_leaves_nothing(server, tmp_path, monkeypatch):
    def full(self, folder):
        folder.mkdir()
        (folder / "info.csv").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(AstError, match="bach-violin .*No space left on device"):
        fetch(server, archive(GOOD), tmp_path)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["bach-violin.zip"]


def test_another_archive_is_not_taken_for_the_dataset(server, tmp_path):
    with pytest.raises(AstError, match="bach-violin.zip: found no info.csv"):
        fetch(server, archive({"readme.txt": "x"}), tmp_path)
    assert not unpacked(tmp_path)
