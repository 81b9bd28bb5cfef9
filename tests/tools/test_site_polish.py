"""Pages after Jupyter Book: what is mended, what is left out, and links that need an address."""

import contextlib
import io
import json
import re
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup

import site_polish
from site_polish import Place, polish

HERE = Place("https://someone.github.io/book", "https://github.com/someone/book")
HEAD = """<head><meta content="width=device-width" name="viewport"/><meta content="x" name="viewport"/><title>T</title>
<script src="../_static/scripts/fontawesome.js"></script><script src="../searchindex.js"></script>
<script src="../_static/mathjax/tex-chtml.js"></script></head>"""
TABLE = "<table><thead><tr><th></th><th>LSD</th></tr></thead><tbody><tr><th>ours</th><td>1</td></tr></tbody></table>"
SENTENCE = "This chapter explains one idea in a sentence that is long enough to describe a page."
PAGE = f"""<html lang="en">{HEAD}<body><button id="pst-back-to-top">Back to top</button>
<div id="pst-primary-sidebar"><button aria-label="Search">Search Ctrl K</button></div><main>
<article><h1>Title<a class="headerlink" href="#t">#</a></h1><p>{SENTENCE}</p>MATH{TABLE}
<img src="../a.png" alt="a"/><img src="../b.png" alt="b"/>
<div class="citation-list" role="list"><div class="citation" role="doc-biblioentry">Entry</div></div>
</article></main></body></html>"""


@pytest.fixture
def site(tmp_path):
    """Two pages, one of them a chapter with its notebook."""
    html = tmp_path / "html"
    for folder in ("book", "notebooks", "_static", "_sources/notebooks"):
        (html / folder).mkdir(parents=True)
    (html / "book" / "intro.html").write_text(PAGE.replace("MATH", ""))
    (html / "notebooks" / "01_one.html").write_text(PAGE.replace("MATH", '<span class="math">x</span>'))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    nbformat.write(notebook, html / "_sources" / "notebooks" / "01_one.ipynb")
    return html


NOWHERE = Place()


def finished(site, place=NOWHERE, name="notebooks/01_one.html"):
    polish(site, {"01_one": 340.0}, place, "book/intro.html", "A book")
    return BeautifulSoup((site / name).read_text(), "html.parser")


def test_names_roles_cells_and_landmarks_are_mended(site):
    page = finished(site)
    assert (
        page.find(attrs={"role": "doc-biblioentry"}) is None and len(page.select("[role=list] > [role=listitem]")) == 1
    )
    assert not page.select_one("#pst-primary-sidebar button").has_attr("aria-label")
    assert [cell.get_text() for cell in page.find_all("th")] == ["LSD", "ours"] and len(page.find_all("td")) == 2
    assert page.find("table").parent["class"] == ["scroll"] and page.find("table").parent["data-name"] == "Table: Title"
    assert page.find(id="pst-back-to-top").find_parent("main") is not None
    assert page.find(id="pst-primary-sidebar")["role"] == "complementary"


def test_a_page_loads_what_it_uses(site):
    sources = [script["src"] for script in finished(site).find_all("script", src=True)]
    assert sources == ["../_static/mathjax/tex-chtml.js"]
    intro = BeautifulSoup((site / "book" / "intro.html").read_text(), "html.parser")
    assert intro.find_all("script", src=True) == []
    assert [picture.get("loading") for picture in intro.select("article img")] == [None, "lazy"]


def test_a_formula_between_dollars_in_an_output_needs_mathematics():
    def article(text):
        return BeautifulSoup(f'<article><div class="output">{text}</div></article>', "html.parser").article

    assert site_polish.needs_mathematics(article("$x^2$"))
    assert not site_polish.needs_mathematics(article("5 $ and more"))


def test_without_addresses_no_link_is_broken(site):
    page = finished(site)
    assert page.select_one(".launch").get_text(" ", strip=True).startswith("Runs in about 6 minutes")
    assert [link.get_text() for link in page.select(".launch a")] == ["Download notebook"]
    assert (site / "notebooks" / page.select_one(".launch a")["href"]).is_file()
    assert page.find("link", rel="canonical") is None and page.find("meta", property="og:image") is None
    assert page.find("meta", attrs={"name": "description"})["content"] == SENTENCE
    assert page.find("meta", property="og:title")["content"] == "Title"
    assert not (site / "sitemap.xml").exists() and not (site / "robots.txt").exists()


def test_with_addresses_pages_are_found_and_notebooks_open_elsewhere(site):
    page = finished(site, HERE)
    links = {link.get_text(): link["href"] for link in page.select(".launch a")}
    assert links["Open in Colab"] == "https://colab.research.google.com/github/someone/book/blob/notebooks/01_one.ipynb"
    assert links["Open in Binder"] == "https://mybinder.org/v2/gh/someone/book/notebooks?labpath=01_one.ipynb"
    assert page.find("link", rel="canonical")["href"] == "https://someone.github.io/book/notebooks/01_one.html"
    places = re.findall(r"<loc>(.*?)</loc>", (site / "sitemap.xml").read_text())
    assert places == [f"{HERE.site}/{n}.html" for n in ("book/intro", "notebooks/01_one")]
    assert f"Sitemap: {HERE.site}/sitemap.xml" in (site / "robots.txt").read_text()
    branch = site.parent / "for-services"
    assert {path.name for path in branch.iterdir()} == {"01_one.ipynb", "environment.yml", "apt.txt"}


def test_only_github_has_colab_and_binder(site):
    page = finished(site, Place("", "https://example.org/someone/book"))
    assert [link.get_text() for link in page.select(".launch a")] == ["Download notebook"]


def test_a_measured_run_time_is_taken_before_that_of_the_header(site):
    path = site / "_sources" / "notebooks" / "01_one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["papermill"] = {"duration": 42.3, "parameters": {"profile": "full"}}
    nbformat.write(notebook, path)
    assert "Ran in 40 s for this page (profile full)." in finished(site).select_one(".launch").get_text()


def test_the_front_door_is_a_page_of_its_own(site):
    finished(site)
    door = BeautifulSoup((site / "index.html").read_text(), "html.parser")
    assert door.html["lang"] == "en" and door.title.get_text() == "A book" and door.a["href"] == "book/intro.html"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Place()),
        ({"BOOK_ADDRESS": "https://a.org/b/"}, Place("https://a.org/b", "")),
        ({"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "someone/book"}, HERE),
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "Some/some.github.io"},
            Place("https://some.github.io", "https://github.com/Some/some.github.io"),
        ),
        (
            {"CI_PROJECT_URL": "https://gitlab.com/a/b", "CI_PAGES_URL": "https://a.gitlab.io/b"},
            Place("https://a.gitlab.io/b", "https://gitlab.com/a/b"),
        ),
    ],
)
def test_addresses_come_from_the_environment(environment, expected):
    assert Place.known(environment=environment) == expected
    assert Place.known("https://x.org", "https://github.com/x/y.git", environment) == Place(
        "https://x.org", "https://github.com/x/y"
    )


# --- The first cell --------------------------------------------------------------------------------------------------


def test_a_notebook_gets_its_first_cell_once(site):
    for _ in range(2):
        finished(site, HERE)
    cells = nbformat.read(site / "_sources" / "notebooks" / "01_one.ipynb", as_version=4).cells
    assert [cell.source for cell in cells] == [site_polish.first_cell(HERE), "x = 1"]


@pytest.mark.parametrize("place", [Place(), HERE])
def test_the_first_cell_does_nothing_in_the_repository(place, monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("something was installed"))
    exec(site_polish.first_cell(place), {})


def test_the_first_cell_installs_what_is_missing_elsewhere(tmp_path, monkeypatch):
    commands = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.chdir", lambda folder: commands.append(["cd", folder]))
    monkeypatch.setattr("subprocess.run", lambda command, check: commands.append(command))
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(site_polish.first_cell(HERE), {})
    assert commands == [
        ["git", "clone", "--depth", "1", HERE.repository],
        [sys.executable, "-m", "pip", "install", "-q", "-e", "book[book]"],
        ["apt-get", "install", "-y", "-qq", "libfluidsynth3"],
        ["cd", "book"],
    ]
    assert sys.path[0] == str(tmp_path / "book")


def test_without_an_address_the_first_cell_says_where_a_notebook_runs(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with contextlib.redirect_stderr(io.StringIO()), pytest.raises(SystemExit, match="open this notebook in the folder"):
        exec(site_polish.first_cell(Place()), {})


def test_addresses_are_part_of_what_a_build_depends_on():
    assert json.loads(site_polish.record(HERE)) == {"site": HERE.site, "repository": HERE.repository}


def test_a_picture_in_the_page_itself_is_no_file(tmp_path):
    soup = site_polish.BeautifulSoup(
        f'<article><img src="data:image/webp;base64,{"A" * 5000}"></article>', "html.parser"
    )
    site_polish.settle_pictures(soup, tmp_path / "page.html")
    assert soup.img["decoding"] == "async" and "width" not in soup.img.attrs
