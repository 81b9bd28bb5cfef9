"""The built site: no errors, no dead links, pictures described, sounds there, pages light, nothing from a network."""

import pathlib
import re
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

pytestmark = pytest.mark.book
MAXIMUM = 4_000_000  # bytes of a page and of the pictures and sounds that come with it


class Page:
    """One HTML file of the site, parsed."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.soup = BeautifulSoup(path.read_bytes(), "html.parser")
        self.anchors = {tag["id"] for tag in self.soup.find_all(id=True)} | {
            tag["name"] for tag in self.soup.find_all("a", attrs={"name": True})
        }

    def references(self, *attributes: str) -> list[str]:
        """Values of the attributes in all tags of the page."""
        return [tag[name] for name in attributes for tag in self.soup.find_all(attrs={name: True})]

    def target(self, reference: str) -> pathlib.Path:
        """File that a relative reference leads to."""
        path = unquote(urlsplit(reference).path)
        return (self.path.parent / path).resolve() if path else self.path


def is_external(reference: str) -> bool:
    return bool(urlsplit(reference).scheme or urlsplit(reference).netloc)


@pytest.fixture(scope="module")
def pages(book):
    """Every page of the site by path, without the static files of the theme."""
    found = [path for path in sorted(book.rglob("*.html")) if path.relative_to(book).parts[0] != "_static"]
    return {path.resolve(): Page(path.resolve()) for path in found}


def faults(pages, book, check) -> list[str]:
    """What ``check`` finds wrong, as "page: fault"."""
    return [f"{page.path.relative_to(book)}: {fault}" for page in pages.values() for fault in check(page)]


def test_every_listed_page_is_there(book, root):
    from build_site import pages

    listed = pages((root / "_toc.yml").read_text())
    assert [name for name in listed if not (book / f"{name}.html").is_file()] == []


def test_no_executed_notebook_holds_an_error(book):
    executed = sorted((book.parent / "notebooks").glob("[0-9]*.ipynb"))
    assert executed
    errors = [
        f"{path.name}: {output.ename}: {output.evalue}"
        for path in executed
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert errors == []


def test_every_internal_link_leads_somewhere(pages, book):
    def check(page):
        for reference in page.references("href", "src"):
            if is_external(reference) or reference in ("#", ""):
                continue
            target, fragment = page.target(reference), unquote(urlsplit(reference).fragment)
            if not target.exists():
                yield f"{reference} does not exist"
            elif fragment and target in pages and fragment not in pages[target].anchors:
                yield f"{reference} has no such anchor"

    assert faults(pages, book, check) == []


def test_every_picture_is_described(pages, book):
    def check(page):
        for picture in page.soup.find_all("img"):
            alternative = picture.get("alt", "").strip()
            # Sphinx puts the file's name where a chapter gives no text.
            if not alternative or re.fullmatch(r"\S+\.(png|svg|jpe?g|gif|webp)", alternative):
                yield f"{picture.get('src', '')[:80]} has no alt text"

    assert faults(pages, book, check) == []


def test_every_sound_is_there_and_named(pages, book):
    def check(page):
        for player in page.soup.find_all("audio"):
            sources = [player.get("src"), *(source.get("src") for source in player.find_all("source"))]
            sources = [source for source in sources if source]
            if not sources:
                yield "a player has no source"
            for source in sources:
                if source.startswith("data:audio/mpeg;base64,") and len(source) > 1000:
                    continue  # it is in the page
                if is_external(source) or not page.target(source).is_file() or not page.target(source).stat().st_size:
                    yield f"the sound {source[:80]} is not a file of the site with content"
            if "controls" not in player.attrs:
                yield f"the player of {sources} has no controls"

    assert faults(pages, book, check) == []


def test_the_listening_chapter_has_sounds(pages):
    chapters = [page for page in pages.values() if page.path.name == "15_listening.html"]
    assert len(chapters) == 1
    assert chapters[0].soup.find_all("audio")


def test_no_page_is_heavy(pages, book):
    def check(page):
        media = {
            page.target(tag["src"])
            for tag in page.soup.find_all(["img", "audio", "video", "source"], src=True)
            # What waits for a click or for being near is not loaded with the page.
            if not is_external(tag["src"]) and tag.get("preload") != "none" and tag.get("loading") != "lazy"
        }
        size = sum(path.stat().st_size for path in {page.path, *media} if path.is_file())
        if size > MAXIMUM:
            yield f"{size} bytes with what is loaded at once, accepted are {MAXIMUM}"

    assert faults(pages, book, check) == []


def test_nothing_is_loaded_from_a_network(pages, book):
    def check(page):
        loading = page.soup.find_all(["script", "img", "audio", "video", "source", "iframe", "embed"], src=True)
        references = [tag["src"] for tag in loading]
        kinds = {"stylesheet", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "icon", "manifest"}
        for link in page.soup.find_all("link", href=True):
            if kinds & set(link.get("rel", [])):
                references.append(link["href"])
        yield from (f"loads {name}" for name in references if is_external(name) and not name.startswith("data:"))
        for script in page.soup.find_all("script", src=False):
            addresses = re.findall(r"[\"'](?:https?:)?//[^\"'\s]+\.js[\"']", script.get_text())
            yield from (f"a script names {address}" for address in addresses)

    assert faults(pages, book, check) == []


def test_no_style_sheet_loads_from_a_network(book):
    loading = re.compile(r"(?:@import\s+|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)")
    sheets = {path.relative_to(book): loading.findall(path.read_text()) for path in sorted(book.rglob("*.css"))}
    assert sheets
    assert {str(path): found for path, found in sheets.items() if found} == {}


def test_formulas_are_set_by_scripts_of_the_site(pages, book):
    with_formulas = [page for page in pages.values() if page.soup.select(".math")]
    assert with_formulas
    for page in with_formulas:
        scripts = [page.target(tag["src"]) for tag in page.soup.find_all("script", src=re.compile("mathjax"))]
        assert [path.is_file() for path in scripts] == [True], page.path


def test_every_page_has_one_title_a_language_and_no_level_of_heading_left_out(pages, book):
    def check(page):
        article = page.soup.find("article")
        if article is None:  # the redirection to the first page, the search
            return
        if not page.soup.html.get("lang"):
            yield "has no language"
        levels = [int(tag.name[1]) for tag in article.find_all(re.compile(r"^h[1-6]$"))]
        if levels.count(1) != 1:
            yield f"has {levels.count(1)} titles"
        for above, below in zip(levels, levels[1:], strict=False):
            if below > above + 1:
                yield f"goes from heading level {above} to {below}"

    assert faults(pages, book, check) == []


def test_every_page_can_be_read_on_a_phone_in_the_dark_and_searched(pages, book):
    def check(page):
        if page.soup.find("article") is None:  # the redirection to the first page, the search
            return
        viewport = page.soup.find("meta", attrs={"name": "viewport"})
        if viewport is None or "width=device-width" not in viewport["content"]:
            yield "has no viewport of the device's width"
        if not page.soup.select("button.theme-switch-button"):
            yield "has no switch to dark mode"
        if not page.soup.select("button.search-button, button.search-button__button, form.bd-search"):
            yield "has no search"
        sheets = [page.target(tag["href"]).name for tag in page.soup.find_all("link", rel="stylesheet")]
        if "custom.css" not in sheets:
            yield "lacks the style sheet for phones, the dark and paper"

    assert faults(pages, book, check) == []


def test_the_search_index_knows_the_chapters(book, root):
    index = (book / "searchindex.js").read_text(encoding="utf-8")
    assert (book / "search.html").is_file()
    for word in ("prototyp", "silenc", "violin", "adversari"):  # stems, as the index has them
        assert f'"{word}"' in index or f"{word}:" in index, word
    assert all(f"notebooks/{path.stem}" in index for path in (root / "notebooks").glob("[0-9]*.md"))


def test_wide_things_scroll_in_their_box_and_are_whole_on_paper(book):
    sheet = (book / "_static" / "custom.css").read_text(encoding="utf-8")
    screen, paper = sheet.split("@media print", 1)
    for name in (".scroll", "div.math"):
        rule = re.search(rf"^\.bd-article {re.escape(name)} {{(.*?)}}", screen, flags=re.DOTALL | re.MULTILINE)
        assert rule and "overflow-x: auto" in rule[1], name
        rule = re.search(rf"\.bd-article {re.escape(name)} {{(.*?)}}", paper, flags=re.DOTALL)
        assert rule and "overflow: visible" in rule[1], name
    assert re.search(r"\.bd-article pre {[^}]*white-space: pre-wrap", paper)


def test_no_page_shows_what_stands_for_a_widget(pages, book):
    """A widget needs scripts from a network: a page shows the picture of its first state, not its name."""

    def check(page):
        if page.soup.find("script", type="application/vnd.jupyter.widget-view+json"):
            yield "holds a widget without its scripts"
        if re.search(r"interactive\(children|\b(HBox|VBox|Output)\(", page.soup.get_text()):
            yield "shows a widget's text"

    assert faults(pages, book, check) == []


def test_chapters_link_to_the_code_that_they_explain(pages, root):
    for page in pages.values():
        if page.path.parent.name == "notebooks":
            text = (root / "notebooks" / page.path.name).with_suffix(".md").read_text(encoding="utf-8")
            wanted = {pathlib.Path(name).name for name in re.findall(r"\]\(\.\./(ast_lib/[\w/]+\.py)\)", text)}
            links = {page.target(tag["href"]) for tag in page.soup.select("a.download[href]")}
            assert wanted <= {path.name for path in links if path.is_file()}, page.path.name
