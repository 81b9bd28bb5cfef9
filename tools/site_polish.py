"""Finish the pages that Jupyter Book made, so that everybody can use them: ``polish(html, chapters, place)``.

Each page is parsed once. What the theme writes is mended where it keeps people out: names and roles that a screen
reader trips over, header cells without a text, tables that a keyboard cannot scroll, content outside of landmarks. What
a page does not use, it does not load. What is known is added: how long a chapter runs, what a page is about, and, where
the addresses of the site and of the repository are known, links that need them. The notebooks that a page offers get a
first cell that installs what is missing.
"""

import dataclasses
import html as markup
import json
import os
import pathlib
import re
import struct
from collections.abc import Mapping, Sequence

import nbformat
from bs4 import BeautifulSoup, Tag

SUMMARY = 180  # characters of a page's description
CARD = "_static/card.png"  # the picture that stands for the book where somebody links to it
BRANCH = "notebooks"  # of the repository, where a release puts the notebooks that Colab and Binder open


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a site is published and its repository, as addresses without a slash at the end; empty when not known."""

    site: str = ""
    repository: str = ""

    @classmethod
    def known(cls, site: str = "", repository: str = "", environment: Mapping[str, str] = os.environ) -> "Place":
        """The addresses that are given, else those of the environment.

        ``BOOK_ADDRESS`` and ``BOOK_REPOSITORY`` name them. Where a service builds the book, its variables do.
        """
        server, name = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
        repository = repository or environment.get("BOOK_REPOSITORY", "")
        repository = repository or (f"{server}/{name}" if server and name else environment.get("CI_PROJECT_URL", ""))
        site = site or environment.get("BOOK_ADDRESS", "") or environment.get("CI_PAGES_URL", "")
        if not site and server == "https://github.com" and "/" in name:
            owner, project = name.split("/", 1)
            own = project.lower() == f"{owner.lower()}.github.io"
            site = f"https://{owner.lower()}.github.io" + ("" if own else f"/{project}")
        return cls(site.rstrip("/"), repository.rstrip("/").removesuffix(".git"))

    @property
    def on_github(self) -> str:
        """``owner/name`` of a repository on GitHub, empty for others."""
        match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", self.repository)
        return match[1] if match else ""


def parsed(path: pathlib.Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_bytes(), "html.parser")


def element(name: str, text: str = "", /, **attributes: str) -> Tag:
    """A new element; ``class_`` and ``aria_label`` stand for ``class`` and ``aria-label``."""
    made = BeautifulSoup("", "html.parser").new_tag(
        name, attrs={key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    )
    if text:
        made.string = text
    return made


# --- What keeps people out ------------------------------------------------------------------------------------------


def mend_roles(soup: BeautifulSoup) -> None:
    """A bibliography is a list of list items; the role that Sphinx gives its entries is deprecated."""
    for entry in soup.find_all(attrs={"role": "doc-biblioentry"}):
        entry["role"] = "listitem"
    for entries in soup.select("div.citation-list, aside.footnote-list"):
        if entries.find(attrs={"role": "listitem"}, recursive=False) is None:
            del entries["role"]


def mend_names(soup: BeautifulSoup) -> None:
    """A button is called what is written on it, or has a label where nothing is."""
    for button in soup.find_all("button"):
        if button.get_text(strip=True):
            del button["aria-label"]
        elif not button.get("aria-label") and button.get("title"):
            button["aria-label"] = button["title"]
    for icon in soup.select("button i.theme-switch[title]"):
        icon["aria-hidden"] = "true"
        del icon["title"]
    for summary in soup.select("details.hide summary, details.hide > summary"):
        del summary["aria-label"]


def mend_tables(soup: BeautifulSoup) -> None:
    """A cell without a text heads nothing; a table scrolls in a box of its own, and keeps its own layout."""
    for cell in soup.find_all("th"):
        if not cell.get_text(strip=True) and cell.find(["img", "audio", "svg", "math"]) is None:
            cell.name = "td"
            del cell["scope"]
    for table in soup.select("article table"):
        if "scroll" in (table.parent.get("class") or []):
            continue
        caption = table.find("caption")
        name = caption.get_text(" ", strip=True) if caption else heading_above(table)
        table.wrap(element("div", class_="scroll", data_name=f"Table: {name}"))


def mend_landmarks(soup: BeautifulSoup) -> None:
    """All that a page shows is inside a landmark: the button back to the top moves into the main part."""
    button, main = soup.find(id="pst-back-to-top"), soup.find("main")
    if button is not None and main is not None:
        main.append(button.extract())
    sidebar = soup.find(id="pst-primary-sidebar")
    if sidebar is not None:
        sidebar["role"], sidebar["aria-label"] = "complementary", "Title, search and chapters"


def heading_above(tag: Tag) -> str:
    """Text of the nearest heading before a tag."""
    heading = tag.find_previous(re.compile("^h[1-6]$"))
    return heading_text(heading) if heading else "of this page"


def heading_text(heading: Tag) -> str:
    """Text of a heading without the mark of its link."""
    return "".join(t for t in heading.find_all(string=True) if t.find_parent("a", class_="headerlink") is None).strip()


# --- What a page loads ----------------------------------------------------------------------------------------------


def lighten(soup: BeautifulSoup, page: pathlib.Path) -> None:
    """No script that the page does not use: icons come from a font, mathematics and the search where there is any."""
    unused = ["scripts/fontawesome.js"]  # 1.5 MB, for icons that the font draws as well
    article = soup.find("article")
    if page.stem != "search":
        unused += ["_static/searchtools.js", "_static/language_data.js", "searchindex.js"]
    if article is not None and not needs_mathematics(article):
        unused.append("_static/mathjax/")
    for script in soup.find_all("script", src=True):
        if any(name in script["src"] for name in unused):
            script.decompose()
    for link in soup.find_all("link", rel="preload"):
        if any(name in link.get("href", "") for name in unused):
            link.decompose()


def needs_mathematics(article: Tag) -> bool:
    """Whether there is a formula: one of the text, or one in an output, between dollars."""
    outputs = " ".join(tag.get_text() for tag in article.select(".output"))
    return article.find(class_="math") is not None or re.search(r"\$[^$\n]+\$|\\\(|\\\[", outputs) is not None


def picture_size(path: pathlib.Path) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, None for other files."""
    with path.open("rb") as file:
        head = file.read(24)
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" else None


def settle_pictures(soup: BeautifulSoup, page: pathlib.Path) -> None:
    """Pictures keep their place free before they come, and come when they are near; the first one comes at once."""
    for number, picture in enumerate(soup.select("article img[src]")):
        if number:
            picture["loading"] = "lazy"
        picture["decoding"] = "async"
        if picture["src"].startswith("data:"):  # it is in the page already
            continue
        path = page.parent / picture["src"]
        size = picture_size(path) if path.is_file() and path.suffix == ".png" else None
        if size and not picture.get("width") and "style" not in picture.attrs:
            picture["width"], picture["height"] = (str(pixels) for pixels in size)


# --- What is known --------------------------------------------------------------------------------------------------


def description(soup: BeautifulSoup) -> str:
    """The first sentences of a page that are prose, cut at a word."""
    article = soup.find("article")
    if article is None:
        return ""
    paragraphs = [
        p.get_text(" ", strip=True) for p in article.select("p") if p.find_parent(["figure", "table"]) is None
    ]
    text = next((p for p in paragraphs if len(p) > 60), " ".join(paragraphs))
    text = re.sub(r"\s+([.,;:)])", r"\1", re.sub(r"\\[()]|\s+", " ", text)).strip()
    return text if len(text) <= SUMMARY else text[:SUMMARY].rsplit(" ", 1)[0] + " …"


def describe(soup: BeautifulSoup, name: str, place: Place, card: bool) -> None:
    """Title, description and picture for search engines and for whoever links to the page."""
    head = soup.head
    for extra in head.find_all("meta", attrs={"name": "viewport"})[1:]:
        extra.decompose()
    heading = soup.select_one("article h1")
    title = heading_text(heading) if heading else soup.title.get_text()
    text = description(soup)
    head.append(element("meta", name="color-scheme", content="light dark"))
    if text:
        head.append(element("meta", name="description", content=text))
    properties = {"og:type": "article", "og:title": title, "og:description": text}
    if place.site:
        properties |= {"og:url": f"{place.site}/{name}"}
        properties |= {"og:image": f"{place.site}/{CARD}"} if card else {}
        head.append(element("link", rel="canonical", href=f"{place.site}/{name}"))
    for key, value in properties.items():
        if value:
            head.append(element("meta", property=key, content=value))
    head.append(element("meta", name="twitter:card", content="summary_large_image"))


def words_for(seconds: float) -> str:
    """A run time as one says it: 40 s, 6 minutes."""
    if seconds < 90:
        return f"{max(10, round(seconds / 10) * 10)} s"
    return f"{round(seconds / 60)} minutes"


def launch(soup: BeautifulSoup, stem: str, seconds: str, place: Place) -> None:
    """Below a chapter's title: how long it runs, its notebook, and where that opens without an installation."""
    heading = soup.select_one("article h1")
    if heading is None:
        return
    line = element("div", class_="launch")
    line.append(element("span", seconds))
    source = f"../_sources/notebooks/{stem}.ipynb"
    line.append(element("a", "Download notebook", href=source, download=f"{stem}.ipynb"))
    name = place.on_github
    if name:
        colab = f"https://colab.research.google.com/github/{name}/blob/{BRANCH}/{stem}.ipynb"
        binder = f"https://mybinder.org/v2/gh/{name}/{BRANCH}?labpath={stem}.ipynb"
        line.append(element("a", "Open in Colab", href=colab))
        line.append(element("a", "Open in Binder", href=binder))
    heading.insert_after(line)


def run_time(notebook: nbformat.NotebookNode, header: float | None) -> str:
    """How long a chapter ran when this page was made, or, where that is not recorded, what its header says."""
    measured = notebook.metadata.get("papermill", {}).get("duration")
    if measured:
        profile = notebook.metadata["papermill"].get("parameters", {}).get("profile", "quick")
        return f"Ran in {words_for(measured)} for this page (profile {profile})."
    return f"Runs in about {words_for(header)} (profile quick, two processors)." if header else "Runs in a few minutes."


def copy_players(soup: BeautifulSoup, page: pathlib.Path) -> None:
    """``<div class="listen-copy" data-page data-figure>`` becomes the players of that name on another page."""
    for place in soup.select("div.listen-copy"):
        other = page.parent / place["data-page"]
        found = parsed(other).find(id=place["data-figure"]) if other.is_file() else None
        if found is not None:
            found["id"] = f"{found['id']}-here"
            place.replace_with(found)


def number_chapters(soup: BeautifulSoup) -> None:
    """The number of a chapter in the links at a page's end, where the theme leaves it out, is that of the side bar."""
    numbers = {
        link["href"]: link.get_text(" ", strip=True)
        for link in soup.select("nav.bd-docs-nav a[href]")
        if re.match(r"\d+\.", link.get_text(strip=True))
    }
    for link in soup.select(".prev-next-footer a[href]"):
        title = link.select_one(".prev-next-title")
        if title is not None and link["href"] in numbers and not re.match(r"\d+\.", title.get_text(strip=True)):
            title.string = numbers[link["href"]]


# --- Notebooks to take away -----------------------------------------------------------------------------------------


def first_cell(place: Place) -> str:
    """Python that makes a chapter run wherever it is opened: in the repository it does nothing."""
    lines = ["# Run this first. Inside the book's repository it does nothing.", "import importlib.util"]
    if not place.repository:
        wanted = "open this notebook in the folder notebooks/ of the book's repository, in the environment of make book"
        return "\n".join(
            [*lines, "", 'if importlib.util.find_spec("ast_lib") is None:', f'    raise SystemExit("{wanted}")']
        )
    folder = place.repository.rsplit("/", 1)[1]
    return "\n".join(
        [
            *lines,
            "import ctypes.util",
            "import os",
            "import subprocess",
            "import sys",
            "",
            'if importlib.util.find_spec("ast_lib") is None:',
            f'    if not os.path.isdir("{folder}"):',
            f'        subprocess.run(["git", "clone", "--depth", "1", "{place.repository}"], check=True)',
            f'    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", "{folder}[book]"], check=True)',
            '    if ctypes.util.find_library("fluidsynth") is None and os.geteuid() == 0:',
            '        subprocess.run(["apt-get", "install", "-y", "-qq", "libfluidsynth3"], check=True)',
            f'    sys.path.insert(0, os.path.abspath("{folder}"))',
            f'    os.chdir("{folder}")',
        ]
    )


def to_take_away(path: pathlib.Path, place: Place) -> None:
    """Give a notebook its first cell."""
    notebook = nbformat.read(path, as_version=4)
    if notebook.cells and notebook.cells[0].get("id") == "first":
        return
    cell = nbformat.v4.new_code_cell(first_cell(place), id="first", metadata={"tags": ["install"]})
    notebook.cells.insert(0, cell)
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)
    nbformat.write(notebook, path)


def branch_for_services(html: pathlib.Path, place: Place) -> None:
    """What a release pushes to the branch :data:`BRANCH`: the notebooks, and the environment that Binder makes."""
    folder = html.parent / "for-services"
    folder.mkdir(exist_ok=True)
    for path in sorted((html / "_sources" / "notebooks").glob("*.ipynb")):
        (folder / path.name).write_bytes(path.read_bytes())
    lines = [
        "name: book",
        "channels: [conda-forge]",
        "dependencies:",
        "  - python=3.11",
        "  - jupyterlab",
        "  - pip",
    ]
    (folder / "environment.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "apt.txt").write_text("git\nlibfluidsynth3\n", encoding="utf-8")


# --- The site as a whole --------------------------------------------------------------------------------------------


def write_map(html: pathlib.Path, names: Sequence[str], place: Place) -> None:
    """``sitemap.xml`` and ``robots.txt``, which need the address of the site."""
    entries = "".join(f"<url><loc>{markup.escape(f'{place.site}/{name}')}</loc></url>\n" for name in names)
    text = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    (html / "sitemap.xml").write_text(f"{text}{entries}</urlset>\n", encoding="utf-8")
    (html / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {place.site}/sitemap.xml\n", encoding="utf-8")


def front_door(html: pathlib.Path, first: str, title: str) -> None:
    """``index.html`` leads to the first page, in words too, where a browser does not follow by itself."""
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{markup.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="_static/favicon.svg"><meta http-equiv="Refresh" content="0; url={first}"></head>\n'
        f'<body><main><h1>{markup.escape(title)}</h1><p><a href="{first}">Go to the first page.</a></p></main></body>'
        "</html>\n"
    )
    (html / "index.html").write_text(text, encoding="utf-8")


def draw_card(html: pathlib.Path, title: str) -> bool:
    """A picture of 1200 by 630 pixels from the book's title and the first spectrogram of the listening chapter.

    Returns:
        whether there was a picture to draw it from.
    """
    page = html / "notebooks" / "15_listening.html"
    pictures = parsed(page).select("article img[src]") if page.is_file() else []
    paths = [page.parent / tag["src"] for tag in pictures if not tag["src"].startswith("data:")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return False
    import textwrap

    from matplotlib import image
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.3), facecolor="#12222e")
    axis = figure.add_axes((0.05, 0.06, 0.9, 0.5))
    axis.imshow(image.imread(path), aspect="auto")
    axis.axis("off")
    figure.text(0.05, 0.78, textwrap.fill(title, 34), color="white", fontsize=40, weight="bold", va="center")
    figure.savefig(html / CARD, dpi=100)
    return True


def polish(html: pathlib.Path, seconds: Mapping[str, float], place: Place, first: str, title: str) -> None:
    """Finish all pages of a site in place.

    Args:
        html: folder of the site, as Jupyter Book made it.
        seconds: by chapter, what its header says about its run time.
        place: the addresses, as far as they are known.
        first: the first page, such as ``book/intro.html``.
        title: of the book.
    """
    front_door(html, first, title)
    pages = [path for path in sorted(html.rglob("*.html")) if path.relative_to(html).parts[0] != "_static"]
    card = draw_card(html, title)
    for page in pages:
        name = page.relative_to(html).as_posix()
        if name == "index.html":
            continue
        soup = parsed(page)
        copy_players(soup, page)
        mend_roles(soup)
        mend_names(soup)
        mend_tables(soup)
        mend_landmarks(soup)
        lighten(soup, page)
        settle_pictures(soup, page)
        number_chapters(soup)
        describe(soup, name, place, card)
        notebook = html / "_sources" / "notebooks" / f"{page.stem}.ipynb"
        if page.parent.name == "notebooks" and notebook.is_file():
            read = nbformat.read(notebook, as_version=4)
            launch(soup, page.stem, run_time(read, seconds.get(page.stem)), place)
            to_take_away(notebook, place)
        page.write_text(str(soup), encoding="utf-8")
    branch_for_services(html, place)
    if place.site:
        names = [
            path.relative_to(html).as_posix() for path in pages if path.stem not in ("index", "search", "genindex")
        ]
        write_map(html, names, place)


def record(place: Place) -> str:
    """The addresses as text, since pages differ with them."""
    return json.dumps(dataclasses.asdict(place))
