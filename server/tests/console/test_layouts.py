"""Layouts: those of a flow and of a run, what a version changes in them, and the rows that one of them rejected."""

from collections.abc import Iterator
from typing import Any

import pytest
from components import package

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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("layouts")
    flows = {"orders.v1": ORDERS, "orders.v2": ORDERS.replace('"v1"', '"v2"') + MUELLER}
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
    go(page, "#/flows/orders?version=v1&with=v2", "orders")
    expect(page.locator(".change").get_by_role("heading")).to_have_text("layout muellerremoved")
