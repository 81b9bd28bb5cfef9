"""The address of a dataset comes in; its folder goes out, whole or not at all.

Chapter: ``notebooks/16_your_own.md``. Only the Bach Violin Dataset is fetched by a script; the other datasets are the
user's own copies (:mod:`ast_lib.data.readers`).
"""

import os
import pathlib
import tempfile
import zipfile
import zlib

import pooch

from ast_lib.errors import AstError

BACH_VIOLIN = "https://zenodo.org/records/6050245/files/bach-violin-dataset-v1.0.zip"  # about 265 MB
BACH_VIOLIN_MD5 = "7cb08f01bf1c887386a9c425c996bac6"
USER_AGENT = "Mozilla/5.0 (compatible; ast_lib)"  # some servers refuse the name that python-requests gives itself


def download_bach_violin(folder: str | os.PathLike, url: str = BACH_VIOLIN, md5: str = BACH_VIOLIN_MD5) -> pathlib.Path:
    """Fetch and unpack the Bach Violin Dataset into ``folder/bach-violin``; what is there already is left alone.

    The archive stays beside it. What has the wrong checksum or is cut off is not kept.

    Args:
        folder: made when missing.
        url: of the archive, ``http://`` or ``https://``.
        md5: the archive's checksum in hexadecimal digits.

    Returns:
        the folder for :func:`ast_lib.data.bach_violin.recordings`.

    Raises:
        AstError: when the address cannot be reached, the checksum differs, the archive is damaged or has no
            ``info.csv``, or the folder cannot be written.
    """
    root = pathlib.Path(folder, "bach-violin")
    if root.exists():
        return root
    downloader = pooch.HTTPDownloader(progressbar=True, headers={"User-Agent": USER_AGENT})
    try:
        archive = pooch.retrieve(url, f"md5:{md5}", fname=f"{root.name}.zip", path=folder, downloader=downloader)
        with zipfile.ZipFile(archive) as file, tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
            file.extractall(pathlib.Path(temporary, "all"))
            tops = [info.parent for info in pathlib.Path(temporary).rglob("info.csv")]
            if not tops:
                raise AstError(f"{archive}: found no info.csv, accepted is the archive of the Bach Violin Dataset")
            os.replace(min(tops), root)
    # Another checksum is a ValueError, an encrypted entry a RuntimeError, damaged data are any of the others.
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise AstError(
            f"{url}: could not be fetched and unpacked into {root} ({error}); where the MD5 sum differs, compare "
            "it with the one of https://zenodo.org/records/6050245: the expected one was reported by a third party"
        ) from error
    return root
