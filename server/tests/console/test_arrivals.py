"""The page of what arrives."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import package

from console.site import GOOD, Site, running, usual

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect
ARRIVALS = '[[arrival]]\nname = "acme"\nflow = "people"\nfrom = "in/*.csv"\nready = { quiet = "100ms" }\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("arriving")
    (home / "in").mkdir()
    (home / "arrivals.toml").write_text(ARRIVALS)
    with running(home, usual(home), arrivals=home / "arrivals.toml") as site:
        yield site


def test_files_and_their_states(page: Any, site: Site) -> None:
    page.get_by_role("link", name="Arrivals").click()
    page.get_by_role("heading", name="Arrivals", exact=True, level=1).wait_for()
    expect(page.get_by_text("No file has arrived.")).to_be_visible()
    (Path(site.home) / "in/a.csv").write_text(GOOD)
    (Path(site.home) / "in/link.csv").symlink_to("/etc/passwd")
    files = page.get_by_role("region", name="Files").get_by_role("row")
    expect(files).to_have_count(3, timeout=20_000)
    expect(files.nth(1)).to_contain_text("refused")
    expect(files.nth(1)).to_contain_text("it is a link")
    expect(files.nth(2)).to_contain_text("in/a.csv")
    places = page.get_by_role("region", name="Places").get_by_role("row")
    expect(places.nth(1)).to_contain_text("inotify")
    run = page.get_by_role("region", name="Files").get_by_role("link", name="Succeeded")
    expect(run).to_have_attribute("href", re.compile("#/runs/run_"), timeout=20_000)


def test_on_a_phone_the_headings_stand_by_the_cells(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    link = page.get_by_role("link", name="Arrivals")
    link.click()
    place = page.get_by_role("region", name="Places").locator("tbody tr")
    place.wait_for()
    headings = "(cells) => cells.map((cell) => getComputedStyle(cell, '::before').content)"
    assert place.locator("td").evaluate_all(headings) == [
        "none",
        *(f'"{name} "' for name in ("From", "Flow", "Noticed by", "Waiting", "Submitted", "Refused")),
    ]
    box = link.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390, "it can be seen without scrolling"


def test_failed_files_are_taken_again(page: Any, site: Site) -> None:
    (Path(site.home) / "in/bad.csv").write_text("other\n1\n")
    page.get_by_role("link", name="Arrivals").click()
    row = page.get_by_role("row").filter(has_text="in/bad.csv")
    expect(row.get_by_role("link", name="Failed")).to_be_visible(timeout=20_000)
    before = row.get_by_role("link", name="Failed").get_attribute("href")
    row.get_by_role("button", name="Take again").click()
    expect(page.get_by_text("It has a new run.")).to_be_visible()
    expect(row.get_by_role("link", name="Failed")).not_to_have_attribute("href", before, timeout=20_000)
    done = page.get_by_role("row").filter(has_text="in/a.csv")
    expect(done.get_by_role("button", name="Take again")).to_have_count(0)
