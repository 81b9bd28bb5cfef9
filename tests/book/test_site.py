"""The built site in a real browser: Debian's Chromium through Playwright, one browser for all tests.

Every page is visited once at each width, and what the browser saw is asked by several tests. Without a browser all of
this is skipped.
"""

import csv
import functools
import http.server
import io
import shutil
import threading
from importlib import resources

import pytest

pytestmark = pytest.mark.book
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make environment")

WIDTHS = (360, 1440)
FIRST, HEAVIEST = 1_500_000, 4_000_000  # bytes of the first page, and of any, before it is asked for more
USABLE = 2.0  # seconds of work until the first page can be used
PATIENCE = 180_000  # milliseconds, since a machine may be busy with something else
LISTENING = "notebooks/15_listening.html"
INTRO = "book/intro.html"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and writes no line for a request."""

    def log_message(self, *_):
        pass


class Visit:
    """What the browser saw of a page."""

    def __init__(self):
        self.errors, self.missing, self.foreign = [], [], []
        self.size = 0
        self.overflow, self.violations = {}, {}


@pytest.fixture(scope="module")
def browser():
    path = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if path is None:
        pytest.skip("there is no Chromium: bash tools/system_packages.sh PYTHON test installs it where it can")
    options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=options)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(book):
    """Where the site is served: below a sub-path, as many hosts do."""
    handler = functools.partial(Quiet, directory=book.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{book.name}"
    server.shutdown()


@pytest.fixture(scope="module")
def names(book):
    """Every page of the site, as a relative address."""
    found = [path.relative_to(book).as_posix() for path in sorted(book.rglob("*.html"))]
    return [name for name in found if not name.startswith("_static/") and name != "index.html"]


def watch(page, start):
    """A :class:`Visit` that fills while a page is used; what is not below ``start`` is foreign."""
    seen = Visit()
    page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("requestfailed", lambda request: seen.missing.append(f"{request.url}: {request.failure}"))
    page.on("response", lambda reply: seen.missing.append(reply.url) if reply.status >= 400 else None)

    def asked(request):
        if not request.url.startswith((start, "data:", "blob:")):
            seen.foreign.append(request.url)

    page.on("request", asked)
    return seen


def settle(page):
    """Wait until mathematics is set and the layout is at rest."""
    page.evaluate(
        """async () => {
            await window.MathJax?.startup?.promise;
            await document.fonts.ready;
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        }"""
    )


def look(page, **context):
    """What axe finds, as "rule: element"."""
    options = {"resultTypes": ["violations"], "preload": False, **context.pop("options", {})}
    scope = context.pop("scope", {"include": [["html"]]})
    # Boxes that have come to scroll are noticed in the next frame.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
    found = page.evaluate("([scope, options]) => axe.run(scope, options)", [scope, options])
    return [f"{v['id']}: {node['html'][:120]}" for v in found["violations"] for node in v["nodes"]]


@pytest.fixture(scope="module")
def visits(browser, address, names):
    """Every page at both widths, light and dark."""
    axe = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    without_mathematics = {"include": [["html"]], "exclude": [["mjx-container"]]}
    found = {}
    for name in names:
        page = browser.new_page(viewport={"width": WIDTHS[0], "height": 800})
        page.set_default_timeout(PATIENCE)
        visit = found[name] = watch(page, address)
        protocol = page.context.new_cdp_session(page)
        protocol.send("Network.enable")
        sizes = []
        protocol.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        page.goto(f"{address}/{name}", wait_until="load")
        settle(page)
        visit.size = sum(sizes)
        page.evaluate(axe)
        visit.violations["360"] = look(page)
        visit.overflow["360"] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        page.set_viewport_size({"width": WIDTHS[1], "height": 900})
        settle(page)
        visit.overflow["1440"] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        visit.violations["1440"] = look(page, scope=without_mathematics)
        page.evaluate("document.documentElement.dataset.theme = document.documentElement.dataset.mode = 'dark'")
        page.evaluate("document.querySelectorAll('.bd-article details').forEach((part) => (part.open = true))")
        page.wait_for_timeout(300)  # colours fade
        only = {"runOnly": ["color-contrast"]}
        visit.violations["dark, unfolded"] = look(page, scope=without_mathematics, options=only)
        page.emulate_media(media="print")
        visit.overflow["print"] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        page.close()
    return found


def faults(visits, of):
    return [f"{name}: {fault}" for name, visit in visits.items() for fault in of(visit)]


# --- Every page ------------------------------------------------------------------------------------------------------


def test_no_page_has_an_error_in_the_console(visits):
    assert faults(visits, lambda visit: visit.errors) == []


def test_no_page_misses_a_file(visits):
    assert faults(visits, lambda visit: visit.missing) == []


def test_no_page_asks_another_server(visits):
    assert faults(visits, lambda visit: visit.foreign) == []


def test_no_page_is_wider_than_the_window(visits):
    wide = faults(visits, lambda visit: [f"{at}: {by} px" for at, by in visit.overflow.items() if by > 0])
    assert wide == []


def test_nothing_keeps_people_out(visits):
    """No violation of any rule of axe and of any impact, at both widths; contrast in dark mode with all unfolded."""
    assert faults(visits, lambda v: [f"{at}: {what}" for at, found in v.violations.items() for what in found]) == []


def test_pages_are_light(visits):
    assert faults(visits, lambda visit: [visit.size] if visit.size > HEAVIEST else []) == []
    assert visits[INTRO].size <= FIRST


# --- Single pages ----------------------------------------------------------------------------------------------------


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 1000, "height": 800})
    opened.set_default_timeout(PATIENCE)
    yield opened
    opened.close()


def playing(page):
    """Labels of the players that play."""
    return page.evaluate("[...document.querySelectorAll('audio')].filter((a) => !a.paused).map((a) => a.ariaLabel)")


def wait_for_sound(page):
    page.wait_for_function("[...document.querySelectorAll('audio')].some((a) => !a.paused && a.currentTime > 0.05)")


def test_the_first_page_plays_a_transfer_within_one_click(page, address):
    page.goto(f"{address}/{INTRO}")
    page.locator(".listen-play").first.click()
    wait_for_sound(page)
    assert len(playing(page)) == 1
    labels = page.locator(".listen").first.locator("button.listen-name").all_inner_texts()
    assert any("source" in label for label in labels) and any("truth" in label for label in labels)


def test_the_first_page_is_usable_soon_from_disk(page, book):
    protocol = page.context.new_cdp_session(page)
    # The work of the page's thread: on a busy machine the clock on the wall measures the others, too.
    protocol.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto((book / INTRO).as_uri(), wait_until="load")
    settle(page)
    metrics = {metric["name"]: metric["value"] for metric in protocol.send("Performance.getMetrics")["metrics"]}
    assert 0 < metrics["TaskDuration"] <= USABLE


@pytest.mark.parametrize("name", [INTRO, LISTENING, "search.html?q=violin"])
def test_a_page_works_from_disk(page, book, name):
    seen = watch(page, "file:")
    page.goto(f"{book.as_uri()}/{name}", wait_until="load")
    settle(page)
    assert (seen.errors, seen.missing, seen.foreign) == ([], [], [])
    assert page.locator("main").is_visible()


def test_the_front_door_leads_to_the_first_page(page, address):
    page.goto(f"{address}/index.html")
    page.wait_for_url(f"**/{INTRO}")
    assert page.locator("article h1").count() == 1


def test_all_players_play(page, address, names, book):
    """Every sound of every page begins, muted and fast."""
    count = 0
    for name in names:
        if "<audio" not in (book / name).read_text(encoding="utf-8"):
            continue
        page.goto(f"{address}/{name}", wait_until="load")
        failed = page.evaluate(
            """async () => {
                const failed = [];
                const sources = new Set([...document.querySelectorAll("audio")].map((player) => player.src));
                for (const source of sources) {
                    const sound = new Audio(source);
                    sound.muted = true;
                    sound.playbackRate = 4;
                    const heard = new Promise((done) => sound.addEventListener("timeupdate", done));
                    const late = new Promise((_, stop) => setTimeout(() => stop(new Error("late")), 20000));
                    try {
                        await sound.play();
                        await Promise.race([heard, late]);
                    } catch (error) {
                        failed.push(`${source}: ${error}`);
                    }
                    sound.removeAttribute("src");
                    sound.load();
                }
                return [sources.size, failed];
            }"""
        )
        count += failed[0]
        assert failed[1] == [], name
    assert count > 10


def test_sounds_change_at_the_same_instant_by_key_and_only_one_plays(page, address):
    page.goto(f"{address}/{LISTENING}")
    first, second = page.locator(".listen").nth(0), page.locator(".listen").nth(1)
    first.locator(".listen-play").focus()
    page.keyboard.press("Enter")
    wait_for_sound(page)
    # Where the next sound begins is noted in the page: meanwhile both could run on.
    page.evaluate(
        "addEventListener('play', (e) => (window.begunAt = e.target.currentTime), { capture: true, once: true })"
    )
    page.keyboard.press("2")
    page.wait_for_function("window.begunAt !== undefined")
    stopped = first.locator("audio").nth(0).evaluate("(sound) => [sound.paused, sound.currentTime]")
    assert stopped[0] and page.evaluate("window.begunAt") == pytest.approx(stopped[1], abs=0.1)
    assert first.locator("button.listen-name").nth(1).get_attribute("aria-pressed") == "true"
    assert set(playing(page)) <= {first.locator("audio").nth(1).get_attribute("aria-label")}
    second.locator(".listen-play").press("Enter")
    page.wait_for_function(
        "(label) => [...document.querySelectorAll('audio')].some((a) => a.ariaLabel === label && a.currentTime > 0)",
        arg=second.locator("audio").first.get_attribute("aria-label"),
    )
    assert first.locator("audio").evaluate_all("(all) => all.every((sound) => sound.paused)")


def test_the_slider_moves_every_playhead_by_key(page, address):
    page.goto(f"{address}/{LISTENING}")
    box = page.locator(".listen").first
    slider = box.locator("input[type=range]")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    heads = box.locator(".listen-head").evaluate_all("(heads) => heads.map((h) => h.style.insetInlineStart)")
    assert len(set(heads)) == 1 and 0 < float(heads[0].rstrip("%")) < 100
    assert float(slider.input_value()) == pytest.approx(1.0)


def test_players_of_a_group_share_their_axes(page, address):
    page.goto(f"{address}/{LISTENING}")
    boxes = (
        page.locator(".listen")
        .first.locator(".listen-picture")
        .evaluate_all("(all) => all.map((p) => { const b = p.getBoundingClientRect(); return [b.left, b.width]; })")
    )
    assert len(boxes) > 2 and len({tuple(box) for box in boxes}) == 1


def test_the_first_sound_is_within_one_screen(page, address):
    page.goto(f"{address}/{LISTENING}")
    settle(page)
    assert page.locator(".listen-play").first.bounding_box()["y"] < 800


def test_a_blind_test_scores_itself_and_hands_out_its_ratings(page, address):
    """By keyboard alone."""
    page.goto(f"{address}/{LISTENING}")
    box = page.locator(".listen-blind").first
    box.get_by_role("button", name="Begin the test").press("Enter")
    trials = 0
    while box.get_by_role("button", name="A is").count():
        box.get_by_role("button", name="Play A").press("Enter")
        box.locator("select").select_option("3")
        box.get_by_role("button", name="A is").press("Enter")
        trials += 1
    assert trials >= 6
    with page.expect_download() as download:
        box.get_by_role("link", name="Download the ratings").press("Enter")
    rows = list(csv.DictReader(io.StringIO(open(download.value.path(), encoding="utf-8").read())))
    right = sum(row["right"] == "true" for row in rows)
    assert (
        len(rows) == trials
        and {row["certainty"] for row in rows} == {"3"}
        and {row["plays_a"] for row in rows} == {"1"}
    )
    assert all((row["a"] == "truth") == (row["right"] == "true") for row in rows)
    report = box.locator(".listen-report").inner_text()
    assert report.startswith(f"{right} of {trials} right")
    odds = chance(right, trials)
    assert ("less than 1" if odds < 0.01 else str(round(100 * odds))) in report


def chance(right, trials):
    from math import comb

    return sum(comb(trials, count) for count in range(right, trials + 1)) / 2**trials


def test_the_search_finds_a_term(page, address):
    page.goto(f"{address}/{INTRO}")
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input").fill("prototype")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=prototype*")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li").count() > 2


def test_the_switch_makes_a_page_dark(page, address):
    page.goto(f"{address}/{INTRO}")
    button = page.locator("button.theme-switch-button").first
    seen = set()
    for _ in range(3):
        button.press("Enter")
        theme = page.evaluate("document.documentElement.dataset.theme")
        seen.add((theme, page.evaluate("getComputedStyle(document.body).backgroundColor")))
    assert {theme for theme, _ in seen} == {"light", "dark"} and len({colour for _, colour in seen}) == 2


def test_paper_shows_the_text_and_no_controls(page, address):
    page.goto(f"{address}/{LISTENING}")
    page.emulate_media(media="print")
    assert "Listening" in page.locator("h1:visible").first.inner_text()  # the theme prints a title of its own
    for control in (".listen-play", ".bd-sidebar-primary", ".theme-switch-button"):
        assert not page.locator(control).first.is_visible(), control
    assert page.locator(".listen-picture img").first.is_visible()
    page.emulate_media(media="screen")
    settle(page)  # a browser reports media once a frame: paper, screen and paper within one frame are no change
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media="print")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    page.emulate_media(media="screen")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert len(page.pdf()) > 50_000


def test_a_page_can_be_read_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/{LISTENING}")
    assert page.locator("article h1").is_visible()
    assert page.locator(".listen audio[controls]").first.is_visible()
    assert page.locator(".listen-needs").first.is_visible()
    context.close()


def test_what_scrolls_can_be_reached_and_what_fits_is_no_stop(page, address):
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{address}/{INTRO}")
    settle(page)
    boxes = page.locator(".scroll").evaluate_all(
        "(all) => all.map((box) => [box.scrollWidth > box.clientWidth + 1, box.tabIndex === 0])"
    )
    assert any(wide for wide, _ in boxes) and all(wide == reached for wide, reached in boxes)
    page.set_viewport_size({"width": 2400, "height": 800})
    settle(page)
    assert page.locator(".scroll").evaluate_all("(all) => all.map((box) => box.tabIndex === 0)") == [
        reached for _, reached in boxes
    ]
