"""Downloads: with a checksum, and unpacked whole or not at all.

Chapter: ``notebooks/16_your_own.md``. Only the Bach Violin Dataset is fetched by a script; the other datasets are the
user's own copies (:mod:`ast_lib.data.readers`).
"""

import os
import pathlib
import shutil
import stat
import uuid
import zipfile
import zlib

import pooch

from ast_lib.errors import AstError

BACH_VIOLIN = "https://zenodo.org/records/6050245/files/bach-violin-dataset-v1.0.zip"  # about 265 MB
BACH_VIOLIN_MD5 = "7cb08f01bf1c887386a9c425c996bac6"
USER_AGENT = "Mozilla/5.0 (compatible; ast_lib)"  # some servers refuse the name that python-requests gives itself
BACH_VIOLIN_ADVICE = (
    "the expected sum was reported by a third party and is not confirmed: compare with the one that "
    "https://zenodo.org/records/6050245 shows, and if that is the found one, give it as md5"
)


def download(
    url: str, folder: str | os.PathLike, md5: str, advice: str = "download it again", quiet: bool = False
) -> pathlib.Path:
    """Fetch a file, or find it fetched already; what has the wrong checksum or is cut off is not kept.

    Args:
        url: ``http://`` or ``https://``.
        folder: where the file goes under its own name; made when missing.
        md5: 32 hexadecimal digits.
        advice: what to do when the checksum differs, the end of the error message.
        quiet: no progress bar.

    Returns:
        path of the file.

    Raises:
        AstError: when the address cannot be reached, the checksum differs, or the file cannot be written.
    """
    folder, name, md5 = pathlib.Path(folder), url.split("?")[0].rsplit("/", 1)[-1], md5.strip().lower()
    if len(md5) != 32 or not set(md5) <= set("0123456789abcdef"):
        raise AstError(f"md5: found {md5!r}, accepted are 32 hexadecimal digits")

    def checked(address, output, caller):
        pooch.HTTPDownloader(progressbar=not quiet, headers={"User-Agent": USER_AGENT})(address, output, caller)
        found = pooch.file_hash(output, alg="md5")
        if found != md5:
            raise AstError(f"{name}: found the MD5 sum {found}, accepted is {md5}; {advice}")

    try:
        return pathlib.Path(pooch.retrieve(url, f"md5:{md5}", fname=name, path=folder, downloader=checked))
    # requests' exceptions are OSErrors too.
    except OSError as error:
        raise AstError(f"{url}: could not be downloaded to {folder} ({error})") from error


def unzip(archive: str | os.PathLike, folder: str | os.PathLike) -> pathlib.Path:
    """Unpack a zip file into a new folder, which exists afterwards complete or not at all.

    A single folder that holds everything in the archive is not repeated inside ``folder``; what Macs add is left out.

    Args:
        archive: the file.
        folder: must not exist; its parent does.

    Returns:
        ``folder``.

    Raises:
        AstError: when the archive is missing, truncated or corrupt, an entry would leave the folder (absolute paths,
            ``..``), is a link, is encrypted or needs an unknown method, or the disk is too small.
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    if not archive.is_file():
        raise AstError(f"{archive}: no such file")
    if os.path.lexists(folder) or not folder.parent.is_dir():
        raise AstError(f"{folder}: accepted is a name that is still free, in a folder that exists")
    temporary = folder.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with zipfile.ZipFile(archive) as file:
            entries = [entry for entry in file.infolist() if not _of_a_mac(entry.filename)]
            for entry in entries:
                _check_entry(archive, entry)
            needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(folder.parent).free
            if needed > free:
                raise AstError(f"{archive}: unpacked it takes {needed:,} bytes, {folder.parent} has {free:,} left")
            temporary.mkdir()
            file.extractall(temporary, entries)
        parts = list(temporary.iterdir())
        whole = parts[0] if len(parts) == 1 and parts[0].is_dir() else temporary
        os.replace(whole, folder)
    # Also what damaged data makes the decoders raise.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise AstError(f"{archive}: not a complete zip file ({error}); download it again") from error
    except OSError as error:
        raise AstError(f"{archive}: could not be unpacked into {folder} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _of_a_mac(name: str) -> bool:
    """Whether this is what Macs add to an archive: a second file beside every file, and what a folder looks like."""
    parts = name.split("/")
    return parts[0] == "__MACOSX" or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _check_entry(archive: pathlib.Path, entry: zipfile.ZipInfo):
    # Windows' separators and drives count too: the archive is refused everywhere, or unpacks everywhere.
    name = entry.orig_filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":" or "\0" in name:
        raise AstError(f"{archive}: found the entry {entry.orig_filename!r}, which leaves the folder; nothing unpacked")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise AstError(f"{archive}: found the entry {name!r}, which is a link or a device; accepted are files")
    if entry.flag_bits & 1:
        raise AstError(
            f"{archive}: found the entry {name!r}, which is encrypted; accepted are entries without password"
        )


def download_bach_violin(
    folder: str | os.PathLike, url: str = BACH_VIOLIN, md5: str = BACH_VIOLIN_MD5, quiet: bool = False
) -> pathlib.Path:
    """Fetch and unpack the Bach Violin Dataset into ``folder/bach-violin``; what is there already is left alone.

    Returns:
        the folder for :func:`ast_lib.data.bach_violin.recordings`.

    Raises:
        AstError: as :func:`download` and :func:`unzip`, or when the archive has no ``info.csv`` at its top.
    """
    root = pathlib.Path(folder) / "bach-violin"
    if not root.is_dir():
        unzip(download(url, folder, md5, BACH_VIOLIN_ADVICE, quiet), root)
    if not (root / "info.csv").is_file():
        raise AstError(f"{root}: found no info.csv, accepted is the unpacked Bach Violin Dataset")
    return root
