"""What a release holds: cards from metadata, checksums that hold, metadata for citations that agree."""

import hashlib
import json
import pathlib
import shutil
import subprocess
import tomllib
import zipfile

import pytest
import yaml

import release
from ast_lib.book.results import read


@pytest.fixture
def repository(root, tmp_path):
    """A small site of two pages with the weights of the repository."""
    html = tmp_path / "build" / "smoke" / "html"
    for name in ("book/intro", "notebooks/01_one"):
        path = html / f"{name}.html"
        path.parent.mkdir(parents=True)
        path.write_text(f"<html lang='en'><title>{name}</title><body><h1>{name}</h1></body></html>")
    (html / "index.html").write_text("<title>door</title>")
    (tmp_path / "build" / "student").mkdir()
    (tmp_path / "build" / "student" / "01_one.ipynb").write_text("{}")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/01_one\n")
    for name in ("results", "weights"):
        (tmp_path / name).mkdir()
    shutil.copy(root / "results" / "15_listening.json", tmp_path / "results")
    shutil.copy(root / "weights" / "full.safetensors", tmp_path / "weights")
    for name in release.CITATION:
        shutil.copy(root / name, tmp_path)
    return tmp_path


def test_a_release_is_complete_and_its_sums_hold(repository, capsys):
    assert release.main(["--root", str(repository), "--profile", "smoke", "--no-pdf"]) == 0
    folder = repository / "build" / "release"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS"}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == sums
    cards = {"weights/full.safetensors", "weights/full.model-card.md", "weights/full.datasheet.md"}
    assert {"site.zip", "student.zip", "CITATION.cff", "codemeta.json", *cards} <= set(files)
    assert "book/intro.html" in zipfile.ZipFile(files["site.zip"]).namelist()
    assert "no slides, since there is no build/slides" in capsys.readouterr().out


def test_the_target_makes_every_pack_before_it_gathers_them(root):
    planned = subprocess.run(["make", "-n", "release"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert "packs.py student" in planned and "packs.py instructor" in planned
    assert planned.index("slides.py") < planned.index("tools/release.py")


def test_without_a_site_the_command_to_make_one_is_named(tmp_path, capsys):
    assert release.main(["--root", str(tmp_path)]) == 1
    assert "run: make book PROFILE=quick" in capsys.readouterr().err


def test_the_cards_say_what_is_recorded(root):
    weights = root / "weights" / "full.safetensors"
    records = read(root / "results" / "15_listening.json")
    card, sheet = release.model_card(weights, records), release.datasheet(weights)
    metadata = release.read_metadata(weights)
    ours = next(r for r in records if (r.task, r.metric, r.system) == ("piano_to_violin", "lsd", "full"))
    assert f"{ours.value:.2f} ± {ours.std:.2f}" in card and metadata["provenance"]["commit"] in card
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in card
    for name, digest in metadata["provenance"]["data"].items():
        assert not isinstance(digest, str) or f"{name}: {digest}" in sheet
    assert "Nothing has been measured." in release.model_card(weights, [])


def test_the_book_is_printed(repository):
    browser = release.find_browser()
    if browser is None:
        pytest.skip("there is no Chromium: bash tools/system_packages.sh PYTHON test installs it where it can")
    from pypdf import PdfReader

    target = repository / "book.pdf"
    names = ["book/intro", "notebooks/01_one"]
    html = repository / "build" / "smoke" / "html"
    assert release.print_book(html, target, names, browser) == 2
    assert [page.extract_text().strip() for page in PdfReader(target).pages] == names


def test_the_metadata_for_citations_agree(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    codemeta = json.loads((root / "codemeta.json").read_text())
    assert citation["version"] == codemeta["version"] == project["version"]
    assert citation["title"] == codemeta["name"] == yaml.safe_load((root / "_config.yml").read_text())["title"]
    assert citation["license"] == project["license"] and codemeta["license"].endswith(f"/{project['license']}")
    assert codemeta["identifier"] == project["name"] and project["requires-python"] in codemeta["runtimePlatform"]
    assert citation["keywords"] == codemeta["keywords"]
    paper = citation["references"][0]
    assert paper["title"] == codemeta["citation"]["name"] and len(paper["authors"]) == len(
        codemeta["citation"]["author"]
    )


def test_the_target_calls_only_packs_that_exist(root):
    makefile = pathlib.Path(root / "Makefile").read_text()
    assert "tools/release.py --profile $(PROFILE)" in makefile and "release: book" in makefile
