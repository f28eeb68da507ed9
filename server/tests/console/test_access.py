"""For everybody: axe-core finds nothing serious, all works by keyboard, nothing is wider than a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.http.access.test_keys import entry

from console.conftest import signed_in
from console.mending import cell, judged, write
from console.site import GOOD, MIXED, Site, running, usual

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect
ARRIVALS = f'[[arrival]]\nname = "{"a" * 60}"\nflow = "people"\nfrom = "in/*.csv"\n'
AXE = Path(package("axe_playwright_python").__file__).parent / "axe.min.js"
PAGES = ["#/", "#/inbox", "#/inbox/people", "#/runs", "run", "failed", "long", "#/flows", "#/flows/people"]
PAGES += [f"#/flows/{'x' * 64}", "#/arrivals", "#/nowhere"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("access")
    (home / "in").mkdir()
    (home / "in/link.csv").symlink_to("/etc/passwd")
    (home / "arrivals.toml").write_text(ARRIVALS)
    (home / "keys.toml").write_text(entry("e" * 90, "read"))
    with running(home, usual(home), arrivals=home / "arrivals.toml", keys=home / "keys.toml") as site:
        yield site


@pytest.fixture(scope="module")
def places(site: Site) -> dict[str, str]:
    run = site.run("people:v1", site.write("access.csv", MIXED), run_metadata={"a": 1})
    failed = site.run("people:v1", "access-absent.csv")
    site.run("people:v1", site.write("access-good.csv", GOOD))
    flow, version = "x" * 64, "v" * 64
    site.ask("PUT", f"/v1/flows/{flow}/versions/{version}", long_flow(flow, version))
    long = site.run(
        f"{flow}:{version}", site.write(f"{'y' * 200}.csv", f"name\n{'z' * 400}\n{'a b ' * 20}\n")
    )
    return {"run": f"#/runs/{run}", "failed": f"#/runs/{failed}", "long": f"#/runs/{long}"}


def long_flow(flow: str, version: str) -> dict[str, Any]:
    columns = {"name": {"maxLength": 200}}
    return {"flow": flow, "version": version, "description": "w" * 100, "columns": columns}


def settled(page: Any, place: str) -> None:
    page.evaluate(
        """(place) => { if (location.hash === place) return;
        document.querySelector("main").replaceChildren(); location.hash = place; }""",
        place,
    )
    page.locator("main h1").wait_for()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def violations(page: Any, *rules: str) -> list[str]:
    """What axe-core finds, by all its rules or by these."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found = page.evaluate("(rules) => axe.run(rules.length ? {runOnly: rules} : {})", rules)
    return [
        f"{one['impact']} {one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def opened(page: Any, places: dict[str, str], name: str) -> None:
    """A place of the page, with all that it can unfold."""
    settled(page, places.get(name, name))
    for summary in page.locator("summary").all():
        summary.click()


def fits(page: Any, name: str, width: int = 390) -> None:
    """Nothing is wider than a phone, where it stays."""
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width, name


# Of its rules, nearly all say the same at both widths: the pages are looked at wide, what they open narrow.
def test_axe_finds_nothing(page: Any, places: dict[str, str]) -> None:
    for name in PAGES:
        page.set_viewport_size({"width": 1280, "height": 900})
        opened(page, places, name)
        assert violations(page) == [], name
        page.emulate_media(color_scheme="dark")
        assert violations(page, "color-contrast", "link-in-text-block") == [], name
        page.emulate_media(color_scheme="light")
        fits(page, name, 1280)
        fits(page, name)
    settled(page, places["run"])
    page.get_by_role("button", name="Run again, forced").click()
    assert violations(page) == [], "dialog"
    page.keyboard.press("Escape")
    settled(page, "#/inbox/people?")
    write(page, 1, "Email", "x")
    write(page, 2, "Email", "fine@b.org")
    judged(page)
    page.get_by_role("button", name="Find and replace").click()
    assert violations(page) == [], "edited rows"
    page.get_by_role("button", name="Suggest").click()
    page.get_by_role("button", name="Look for repairs").click()
    page.locator(".suggestions p").wait_for()
    assert violations(page) == [], "suggestions"
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == [], "edited rows"
    cell(page, 1, "Email").dblclick()
    assert violations(page) == [], "a cell is edited"
    fits(page, "a cell is edited")
    settled(page, "#/inbox/people?reason=age%3A+is+above+150")
    page.locator(".others li").first.wait_for()
    assert violations(page) == [], "edits of other reasons"
    fits(page, "edits of other reasons")
    page.emulate_media(color_scheme="light")


def test_axe_finds_nothing_at_the_door(visitor: Any, site: Site) -> None:
    visitor.goto(site.url)
    visitor.locator("main h1").wait_for()
    for scheme in ("light", "dark"):
        visitor.emulate_media(color_scheme=scheme)
        assert violations(visitor) == []


@pytest.mark.parametrize("width", [700, 390])
def test_axe_finds_nothing_where_it_is_asked_who_signs_in(visitor: Any, site: Site, width: int) -> None:
    visitor.set_viewport_size({"width": width, "height": 900})
    signed_in(visitor, site)
    token = site.ask("POST", "/console/links", {}, **{"lume-api-key": "e" * 90})["token"]
    visitor.goto(f"{site.url}/#token={token}")
    visitor.get_by_role("heading", name="You are signed in already").wait_for()
    for is_in in (False, True):
        for scheme in ("dark", "light"):
            visitor.emulate_media(color_scheme=scheme)
            assert violations(visitor) == []
        assert visitor.evaluate("document.documentElement.scrollWidth") <= width
        if not is_in:
            visitor.get_by_role("button", name="Sign in as").click()
            expect(visitor.locator(".who")).to_have_text(f"Signed in as {'e' * 90} (read)")
            visitor.get_by_role("heading", name="Overview", level=1).wait_for()


def test_the_keyboard_is_enough(visitor: Any, site: Site, places: dict[str, str]) -> None:
    page = signed_in(visitor, site)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("link", name="Runs", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Runs")).to_be_focused()
    assert page.title() == "Runs · Lume"
    page.get_by_label("Failed").focus()
    page.keyboard.press("Space")
    expect(page.locator("tr.run")).to_have_count(1)
    expect(page.get_by_label("Failed")).to_be_focused()
    page.locator("tr.run a").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    forced = page.get_by_role("button", name="Run again, forced")
    forced.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(forced).to_be_focused()
