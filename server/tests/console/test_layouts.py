"""Layouts: those of a flow and of a run, what a version changes in them, and the rows that one of them rejected."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import package

from console.mending import cell, judged, opened, write
from console.site import Site, running
from console.test_access import violations

expect = package("playwright.sync_api").expect
pytestmark = pytest.mark.thorough

ORDERS = """
flow = "orders"
version = "v1"
[columns.order_id]
type = "integer"
required = true
[columns.amount]
type = "number"
[columns.status]
sql = "'open'"
[layouts.webshop.columns]
order_id = '"id"'
amount = '"total"'
"""
MUELLER = """
[layouts.mueller]
match = "mueller/*"
[layouts.mueller.source]
csv = { delim = ";", encoding = "cp1252" }
[layouts.mueller.columns]
order_id = { from = ["Bestell-Nr."] }
amount = { from = ["Betrag"], sql = "parse_money(value, ',')" }
"""


MANY = """
flow = "many"
version = "v1"
[source]
uri = "{source_path}/*"
[columns.order_id]
type = "integer"
required = true
[columns.amount]
type = "number"
[layouts.webshop.columns]
order_id = '"id"'
amount = '"total"'
[layouts.mueller.source]
csv = { delim = ";", encoding = "cp1252" }
[layouts.mueller.columns]
order_id = { from = ["Bestell-Nr."] }
amount = { from = ["Betrag"], sql = "parse_money(value, ',')" }
"""
FILES = {"a.csv": "id,total\n1,1.5\n2,much\n", "b.csv": "Bestell-Nr.;Betrag\nx;1,5\n4;2,5\n5;3,5\n"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("layouts")
    flows = {"orders.v1": ORDERS, "orders.v2": ORDERS.replace('"v1"', '"v2"') + MUELLER, "many.v1": MANY}
    with running(home, flows) as site:
        yield site


def go(page: Any, place: str, heading: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", place)
    page.get_by_role("heading", name=heading, exact=True, level=1).wait_for()


def rows(page: Any, name: str) -> Any:
    return page.get_by_role("table", name=name, exact=True).locator("tbody tr")


def test_the_layouts_of_a_version_and_what_it_changes_in_them(page: Any, site: Site) -> None:
    go(page, "#/flows/orders", "orders")
    expect(page.get_by_text("reads 2 layouts")).to_be_visible()
    columns = rows(page, "Columns")
    expect(columns.filter(has_text="amount")).to_contain_text("by layout")
    expect(columns.filter(has_text="status")).to_contain_text("'open'")
    layouts = rows(page, "Layouts")
    expect(layouts).to_have_count(2)
    expect(layouts.filter(has_text="mueller")).to_contain_text("never")
    layouts.filter(has_text="webshop").get_by_text("recognised by its names").click()
    expect(layouts.filter(has_text="webshop")).to_contain_text('columns.amount = "total"')
    layouts.filter(has_text="mueller").get_by_text("files like mueller/*").click()
    expect(layouts.filter(has_text="mueller")).to_contain_text(
        'source.csv = {"delim":";","encoding":"cp1252"}'
    )
    (change,) = page.locator(".change").all()
    expect(change.get_by_role("heading")).to_have_text("layout muelleradded")
    expect(change.locator("pre")).to_contain_text("+ match = mueller/*")
    assert violations(page) == []
    with page.expect_download() as started:
        page.get_by_role("button", name="As .toml").click()
    assert started.value.suggested_filename == "orders.v2.toml"
    registered = site.ask("GET", "/v1/flows/orders/versions/v2")["definition"]
    assert tomllib.loads(Path(started.value.path()).read_text()) == registered
    go(page, "#/flows/orders?version=v1&with=v2", "orders")
    expect(page.locator(".change").get_by_role("heading")).to_have_text("layout muellerremoved")


def of_many(site: Site, folder: str, **more: str) -> str:
    """A run on files of two senders; its id."""
    (site.home / folder).mkdir()
    for name, text in (FILES | more).items():
        site.write(f"{folder}/{name}", text)
    return site.run("many:v1", folder)


def test_a_run_shows_the_layout_of_each_file_and_of_each_rejected_row(page: Any, site: Site) -> None:
    run_id = of_many(site, "senders")
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{run_id}")
    layouts = rows(page, "Layouts")
    expect(layouts.filter(has_text="webshop")).to_have_text("webshop121")
    expect(layouts.filter(has_text="mueller")).to_have_text("mueller131")
    page.get_by_text("The layout of each of 2 files").click()
    expect(rows(page, "Files").filter(has_text="b.csv")).to_contain_text("mueller")
    rejected = rows(page, "Rejected rows")
    expect(rejected.filter(has_text="webshop").locator("td.blamed")).to_have_text(["much"])
    expect(rejected.filter(has_text="mueller").locator("td.blamed")).to_have_text(["x"])
    assert violations(page) == []
    go(page, "#/flows/many", "many")
    seen = rows(page, "Layouts").filter(has_text="mueller").locator("td")
    expect(seen.nth(2)).not_to_have_text("0")
    expect(seen.nth(3)).to_contain_text("%")
    expect(seen.nth(4)).not_to_have_text("never")


def test_a_rejected_row_is_corrected_in_its_own_layout(page: Any, site: Site) -> None:
    of_many(site, "mended")
    counts = "/v1/statistics?by=layout&flow=many"
    files = sum(one["files"] for one in site.ask("GET", counts)["items"])
    opened(page, "many")
    places = page.locator("[role=row] [role=gridcell]:first-child")
    expect(places.filter(has_text="webshop").first).to_be_visible()
    expect(places.filter(has_text="a.csv, line 3 · webshop").first).to_be_visible()
    row = [text.endswith("mueller") for text in places.all_inner_texts()].index(True) + 1
    expect(cell(page, row, "total")).to_have_class(re.compile("absent"))
    write(page, row, "Bestell-Nr.", "3")
    judged(page, "1 would be accepted")
    page.get_by_role("button", name="Submit 1 corrected row").click()
    expect(page.get_by_text("has ended SUCCEEDED: 1 row accepted.")).to_be_visible()
    assert sum(one["files"] for one in site.ask("GET", counts)["items"]) == files


def test_a_run_is_repeated_in_a_layout_that_a_person_names(page: Any, site: Site) -> None:
    (site.home / "elsewhere").mkdir()
    source = site.write("elsewhere/m.csv", "Bestell-Nr.;Betrag\n1;1,5\n")
    run_id = site.run("orders:v2", source)  # the layout mueller is for files below mueller/
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{run_id}")
    page.get_by_role("button", name="Run again in a layout …").click()
    page.locator("dialog select").select_option("mueller")
    page.locator("dialog").get_by_role("button", name="Run again").click()
    expect(page.locator("header.head .badge")).to_have_text("Succeeded")
    expect(page.get_by_text("mueller, as the submission says")).to_be_visible()
    expect(page.get_by_role("button", name="Run again in a layout …")).to_have_count(0)


def test_a_file_that_no_layout_reads_leads_to_its_mapping(page: Any, site: Site) -> None:
    run_id = of_many(site, "foreign", **{"c.csv": "OrderNo|Sum\n7|1.5\n"})
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{run_id}")
    expect(page.get_by_role("alert")).to_contain_text("To add a layout for it: choose “Map this file”.")
    page.get_by_role("link", name="Map this file").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Map c.csv")
    page.get_by_label("Source of amount").wait_for(timeout=40_000)
    page.get_by_label("Source of order_id").select_option('["OrderNo"]')
    page.get_by_label("Source of amount").select_option('["Sum"]')
    page.get_by_label("Name of the layout").fill("partner")
    page.get_by_label("Name of the layout").press("Tab")
    expect(page.get_by_role("heading", name="Layout partner", exact=True)).to_be_visible(timeout=40_000)
    page.get_by_role("button", name="Save as v2 and run the file").click()
    page.wait_for_url("**/#/runs/**", timeout=40_000)
    expect(page.locator("header.head .badge")).to_have_text("Partial")
    run = site.ask("GET", f"/v1/runs/{page.url.partition('#/runs/')[2]}")
    assert (run["flow_version"], run["source_path"]) == ("many:v2", "foreign"), "all files of the run"
    assert run["metadata"]["metrics"]["source"]["layouts"]["partner"]["rows_read"] == 1
