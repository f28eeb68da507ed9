"""What the grid can't do, and says: more rows than it holds, values within objects, drafts for ever."""

import json
from typing import Any

import pytest
from components import package

from console.mending import NO_ADDRESS, NO_COUNTRY, cell, judged, open_rows, opened, rejecting, write
from console.site import Site

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect


def test_more_rows_than_it_holds_follow_once_some_are_mended(page: Any, site: Site) -> None:
    def smaller(route: Any) -> None:
        answer = route.fetch()
        text = answer.text().replace("50_000", "4").replace("LIMIT = 1000", "LIMIT = 2")
        route.fulfill(response=answer, body=text)

    rejecting(site, "many")
    page.route("**/mend/load.js", smaller)
    page.reload()
    page.get_by_role("heading", name="Overview").wait_for()
    opened(page, "many", reason=NO_ADDRESS)
    write(page, 1, "Email", "fine@b.org")
    judged(page, "1 would be accepted")
    opened(page, "many")
    also = page.get_by_text("You have edited 1 row of the others elsewhere; Submit also sends those.")
    expect(also).to_be_visible()
    expect(page.get_by_role("button", name="Submit 1 corrected row")).to_be_enabled()
    opened(page, "many", reason=NO_COUNTRY)
    expect(also).to_have_count(0)
    told = page.get_by_text("These are the oldest 4 rows. The others follow once")
    expect(told).to_be_visible()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "5")
    assert open_rows(site, "many")[NO_COUNTRY] == 8
    for row in range(1, 4):
        write(page, row, "Country", "France")
    judged(page, "3 would be accepted")
    page.get_by_role("button", name="Submit 3 corrected rows").click()
    expect(page.get_by_text("has ended SUCCEEDED: 3 rows accepted.")).to_be_visible()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "5")
    assert cell(page, 4, "id").inner_text() == "7", "the next ones are there"
    page.get_by_role("grid").focus()
    cell(page, 1, "Country").click()
    page.get_by_role("button", name="Discard rows").click()
    page.get_by_label("Why nothing is left").fill("known")
    page.get_by_role("button", name="Discard 1 row").click()
    expect(cell(page, 4, "id")).to_have_text("8")
    expect(told).to_have_count(0)
    page.unroute("**/mend/load.js")


def test_values_within_objects_are_edited_elsewhere(page: Any, site: Site) -> None:
    columns = {"id": {"type": "integer"}, "city": {"from": ["address.city"], "minLength": 3}}
    flow = {"flow": "nested", "version": "v1", "source": {"format": "ndjson"}, "columns": columns}
    site.ask("PUT", "/v1/flows/nested/versions/v1", flow)
    rows = [{"id": n, "address": {"city": city}} for n, city in enumerate(["Ulm", "B", "Köln", "L"])]
    site.run("nested:v1", site.write("nested.ndjson", "\n".join(map(json.dumps, rows))))
    opened(page, "nested")
    words = "address holds objects or lists, which can't be edited here: download the rejects"
    expect(page.get_by_text(words)).to_be_visible()
    expect(cell(page, 1, "address")).to_have_attribute("aria-readonly", "true")
    cell(page, 1, "address").dblclick()
    expect(page.get_by_role("textbox")).to_have_count(0)


def test_it_says_how_long_edits_are_kept(page: Any, site: Site) -> None:
    rejecting(site, "kept")
    opened(page, "kept")
    write(page, 1, "Country", "France")
    judged(page, "Edits are kept for 30 days after the last one.")
    expect(page.get_by_text("holds objects")).to_have_count(0)
