"""Opens each page in a browser and does with it what people do. `tests/browser/run` calls it with the program and the browser."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import store
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

COMMANDS = {
    "report": ["report"],
    "usage": ["usage"],
    "kinds": ["usage", "--by", "media-type"],
    "tags": ["usage", "--by", "tag"],
    "audit": ["audit"],
    "dry-run": ["garbage-collect", "--dry-run", "-m"],
}
WAYS = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
}
BEGIN = '<script type="application/json" id="data">'
MOST_BYTES = 2_000_000


def data_of(page: str) -> dict:
    return json.loads(page.split(BEGIN)[1].split("</script>")[0])


def open_page(browser: Browser, file: Path, way: dict, **more) -> Page:
    """Opens a page that must ask for nothing and complain about nothing."""
    page = browser.new_context(**way, **more).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: complaints.append(f"request: {request.url}") if request.url != file.as_uri() else None)
    page.complaints = complaints
    page.goto(file.as_uri())
    page.wait_for_selector("footer p")
    return page


def ensure_harmless(page: Page, name: str) -> None:
    assert page.complaints == [], f"{name}: {page.complaints}"
    assert page.evaluate("window.owned") is None, f"{name}: a name was run"
    # Ours are the data, the script, and no element that a name could make.
    counts = page.evaluate("['script', 'img', 'b', 'i', 'iframe', 'form'].map((tag) => document.querySelectorAll(tag).length)")
    assert counts == [2, 0, 0, 0, 0, 0], f"{name}: {counts}"


def names(page: Page, table: str) -> list[str]:
    return page.locator(f"#{table} tbody th").all_inner_texts()


def column(page: Page, table: str, place: int) -> list[int]:
    cells = page.locator(f"#{table} tbody tr td:nth-child({place})")
    return [int(title.split()[0].replace(",", "")) for title in cells.evaluate_all("all => all.map((one) => one.title)")]


def table_works(page: Page, rows: int) -> None:
    assert len(names(page, "rows")) == rows
    unsorted = names(page, "rows")
    head = page.locator("#rows th", has=page.get_by_role("button", name="Total"))
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, "rows", 4) == sorted(column(page, "rows", 4), reverse=True)
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, "rows", 4) == sorted(column(page, "rows", 4))
    name = page.locator("#rows th", has=page.get_by_role("button", name="Name"))
    name.get_by_role("button").click()
    assert name.get_attribute("aria-sort") == "ascending" and head.get_attribute("aria-sort") == "none"
    assert names(page, "rows") == sorted(unsorted), names(page, "rows")
    page.get_by_label("Filter by name").fill("WEB front")
    assert names(page, "rows") == ["team/web/frontend"]
    assert page.locator("#rows [role=status]").inner_text() == f"1 repository of {rows}"
    page.get_by_label("Filter by name").fill("nothing of that name")
    assert "Nothing fits" in page.locator("#rows tbody").inner_text()
    page.get_by_label("Filter by name").fill("")
    assert len(names(page, "rows")) == rows


def path(page: Page) -> list[str]:
    return page.locator(".path li").all_inner_texts()


def map_works(page: Page) -> None:
    assert path(page) == ["All"]
    assert "16 repositories" in page.locator(".detail").inner_text()
    tile = page.locator(".tile", has=page.locator("bdi", has_text="team")).first
    tile.click()
    assert path(page) == ["All", "team"], path(page)
    assert "Map of team" in page.locator(".map").get_attribute("aria-label")
    assert page.locator(".detail").inner_text().startswith("team/"), page.locator(".detail").inner_text()
    page.locator(".path button").first.click()
    assert path(page) == ["All"]
    # By keyboard: the one tile that Tab comes to, arrows, in and out.
    assert page.locator('.tile[tabindex="0"]').count() == 1
    page.locator('.tile[tabindex="0"]').focus()
    page.keyboard.press("Home")
    first = page.evaluate("document.activeElement.innerText")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.innerText") != first
    page.keyboard.press("Home")
    while "team" not in page.evaluate("document.activeElement.innerText"):
        before = page.evaluate("document.activeElement.innerText")
        page.evaluate("document.activeElement.nextElementSibling.focus()")
        assert page.evaluate("document.activeElement.innerText") != before
    page.keyboard.press("Enter")
    assert path(page) == ["All", "team"]
    assert page.evaluate("document.activeElement.classList.contains('tile')"), "the focus goes along"
    page.keyboard.press("Escape")
    assert path(page) == ["All"]
    assert "team" in page.evaluate("document.activeElement.innerText"), "and comes back"
    page.get_by_label("Area").select_option("untagged")
    assert "untagged" in page.locator(".map").get_attribute("aria-label")
    page.get_by_label("Area").select_option("total")
    # A repository leads to its row.
    tile = page.locator(".tile.leaf", has=page.locator("bdi", has_text="base")).first
    tile.click()
    assert names(page, "rows") == ["base"], names(page, "rows")
    page.get_by_label("Filter by name").fill("")


def cut(name: str) -> str:
    """A long name as a page has it."""
    return name if len(name) <= 400 else f"{name[:200]}…{name[-200:]}"


def figures_agree(page: Page, program: str, root: Path) -> None:
    usage = json.loads(subprocess.run([program, "usage", "--json", "--ignore-birth-time", "--root", root], capture_output=True).stdout)
    shown = dict(zip(names(page, "rows"), column(page, "rows", 4)))
    listed = {cut(row["name"]): row["total"]["bytes"] for row in usage["rows"]}
    assert shown == listed, (shown, listed)
    stored = page.locator("#figures dd").first.inner_text()
    assert f"{usage['stored']['blobs']} blobs" in stored, stored


def axe(page: Page, name: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"


def enlarged(page: str, rows: int) -> str:
    """The same page with as many repositories as a large store has; the policy does not cover data."""
    data = data_of(page)
    one = data["rows"]["rows"][0]
    data["rows"]["rows"] = [[f"department-{n % 40}/project-{n}/service", *[n * 1000 + 1] * 5, *one[6:]] for n in range(rows)]
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    begin, rest = page.split(BEGIN)
    return begin + BEGIN + text + "</script>" + rest.split("</script>", 1)[1]


def large_page_works(browser: Browser, page: str, file: Path) -> None:
    file.write_text(enlarged(page, 10_000))
    assert file.stat().st_size < MOST_BYTES, file.stat().st_size
    begun = time.monotonic()
    shown = open_page(browser, file, WAYS["light"])
    head = shown.locator("#rows").get_by_role("button", name="Total")
    head.click()
    assert names(shown, "rows")[0] == "department-39/project-9999/service"
    shown.get_by_label("Filter by name").fill("project-77/")
    assert names(shown, "rows") == ["department-37/project-77/service"]
    shown.get_by_label("Filter by name").fill("")
    before = len(names(shown, "rows"))
    shown.get_by_role("button", name="more").last.click()
    assert len(names(shown, "rows")) > before
    took = time.monotonic() - begun
    print(f"10,000 repositories: {file.stat().st_size} bytes; opened, sorted, filtered in {took:.1f} s")
    assert took < 30, took
    ensure_harmless(shown, "large")


def print_shows_all(browser: Browser, page: str, file: Path) -> None:
    """On paper nothing can be asked for: all rows are there and all findings are open, and afterwards it is as it was."""
    file.write_text(enlarged(page, 120))
    shown = open_page(browser, file, WAYS["light"])
    closed = shown.locator("details:not([open])").count()
    assert closed > 0 and len(names(shown, "rows")) == 50
    shown.evaluate(
        """addEventListener('beforeprint', () => {
             window.onPaper = [document.querySelectorAll('#rows tbody tr').length, document.querySelectorAll('details:not([open])').length];
           })"""
    )
    assert len(shown.pdf()) > 10_000, "it prints"
    assert shown.evaluate("window.onPaper") == [120, 0], shown.evaluate("window.onPaper")
    shown.wait_for_function("document.querySelectorAll('#rows tbody tr').length === 50")
    assert shown.locator("details:not([open])").count() == closed
    ensure_harmless(shown, "printed")


def tiles_cut_no_number(page: Page, name: str) -> None:
    """What a tile shows it shows whole, but for the middle of a name."""
    # The canvas is drawn again once its size is known.
    page.wait_for_function("document.querySelectorAll('.tile').length > 0")
    labels = page.evaluate(
        """[...document.querySelectorAll('.tile .label:not(.hidden)')].map((label) => {
             const box = label.getBoundingClientRect();
             const amount = label.querySelector('.amount:not(.hidden)');
             const inside = amount ? amount.getBoundingClientRect() : box;
             return [label.innerText, amount !== null, label.scrollWidth <= label.clientWidth, inside.bottom <= box.bottom + 1];
           })"""
    )
    assert labels and all(wide and high for _, _, wide, high in labels), f"{name}: {labels}"
    bare = page.evaluate(
        """[...document.querySelectorAll('.tile')]
             .filter((tile) => tile.clientWidth > 130 && tile.clientHeight > 60 && tile.querySelector('.label').classList.contains('hidden'))
             .map((tile) => tile.innerText)"""
    )
    assert bare == [], f"{name}: there is room for a name: {bare}"
    assert any(has_amount for _, has_amount, _, _ in labels), f"{name}: no tile shows its bytes: {labels}"


def main() -> None:
    program = str(Path(sys.argv[1]).resolve())
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        root = Path(directory) / "store"
        store.build(root)
        pages = {}
        for name, words in COMMANDS.items():
            pages[name] = Path(directory) / f"{name}.html"
            run = [program, *words, "--ignore-birth-time", "--root", root, "--html", pages[name]]
            done = subprocess.run(run, capture_output=True, text=True)
            assert pages[name].exists(), f"{name}: {done.stdout}{done.stderr}"
        # As root, as in a container, chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=sys.argv[2], args=["--no-sandbox"])
        for name, file in pages.items():
            page = open_page(browser, file, WAYS["light"])
            ensure_harmless(page, name)
            assert page.locator("h1").inner_text() != ""
        page = open_page(browser, pages["report"], WAYS["light"])
        figures_agree(page, program, root)
        table_works(page, len(store.PLAIN + store.HOSTILE))
        map_works(page)
        assert "missing-blob" in page.locator("#findings").inner_text()
        ensure_harmless(page, "report, after all of that")
        print_shows_all(browser, pages["report"].read_text(), Path(directory) / "printed.html")
        for way, options in WAYS.items():
            for name in ["report", "audit", "dry-run"] if way == "light" else ["report"]:
                page = open_page(browser, pages[name], options)
                tiles_cut_no_number(page, f"{name}, {way}") if name == "report" else None
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= options["viewport"]["width"], f"{name}, {way}: {width} wide"
                # What axe adds to a page the policy would refuse.
                axe(open_page(browser, pages[name], options, bypass_csp=True), f"{name}, {way}")
        large_page_works(browser, pages["report"].read_text(), Path(directory) / "large.html")
        browser.close()
    print(f"tests/browser: {len(pages) + 1} pages, in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
