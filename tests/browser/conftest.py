"""What the tests of the page share: the published weights' files, a site of one page, and a browser."""

import pathlib

import pytest

import player
from ast_lib import browser as exporting
from ast_lib.errors import AstError
from ast_lib.networks import checkpoint
from benchmarks import browser as pages


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> pathlib.Path:
    """The exported published weights: those of the last build where they are up to date."""
    folder = pages.ROOT / "build" / "player"
    if player.is_current(pages.ROOT, checkpoint.PUBLISHED, folder):
        return folder
    return exporting.export_files(tmp_path_factory.mktemp("published") / "exported")


@pytest.fixture(scope="session")
def files() -> pathlib.Path:
    """What the page loads: graphs, constants and the runtime."""
    folder = player.prepare(pages.ROOT, "quick")
    if folder is None:
        pytest.skip("the player's files cannot be had here: python tools/player.py says why")
    return folder


@pytest.fixture(scope="module")  # closed with its file: a process has one Playwright at a time
def chromium():
    try:
        with pages.chromium() as running:
            yield running
    except AstError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """The address of the page without the player's files."""
    folder = tmp_path_factory.mktemp("bare") / "site"
    pages.lay_out(folder, None)
    with pages.serving(folder) as address:
        yield f"{address}/book/play.html"


@pytest.fixture(scope="session")
def complete(tmp_path_factory, files):
    """The address of the page with them."""
    folder = tmp_path_factory.mktemp("complete") / "site"
    pages.lay_out(folder, files)
    with pages.serving(folder) as address:
        yield f"{address}/book/play.html"
