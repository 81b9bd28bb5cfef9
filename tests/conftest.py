"""What several test files share: the root of the repository, and the built book."""

import os
import pathlib
import subprocess
import sys

import pytest

import ast_lib  # noqa: F401  sets the number of computing threads before any test loads PyTorch

ROOT = pathlib.Path(__file__).resolve().parent.parent


def built_book() -> pathlib.Path | None:
    """The site to test: the folder that AST_BOOK names, else the newest of the profiles quick and smoke."""
    if os.environ.get("AST_BOOK"):
        return pathlib.Path(os.environ["AST_BOOK"]).resolve()
    built = [ROOT / "build" / profile / "html" for profile in ("quick", "smoke")]
    built = [html for html in built if (html / "index.html").is_file()]
    return max(built, key=lambda html: html.stat().st_mtime, default=None)


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def book() -> pathlib.Path:
    """Folder of the built site; where there is none, the smoke profile is built first."""
    html = built_book()
    if html is None:
        # A make above this one would hand down its own options.
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"
        }
        command = ["make", "book", "PROFILE=smoke", f"PYTHON={sys.executable}"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        html = ROOT / "build" / "smoke" / "html"
    assert (html / "index.html").is_file(), f"{html}: there is no built book"
    return html
