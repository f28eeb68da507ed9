"""What the page of a reason submits, removes and searches: its rows, and no others of the draft."""

from typing import Any

import pytest
from components import package

from console.conftest import watched
from console.mending import NO_ADDRESS, NO_COUNTRY, TYPOS, cell, judged, open_rows, opened, rejecting, write
from console.site import Site

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect
BOTH = TYPOS + "12,nobody,Germny,both\n"
"""Eight rows with one reason, one with another, one with both."""


def edited(page: Any, site: Site, flow: str) -> None:
    """A draft in which all rows with an address that is none would be accepted, and one row with a bad country."""
    rejecting(site, flow, BOTH)
    opened(page, flow, reason=NO_ADDRESS)
    for row, country in ((1, "France"), (2, "Germany")):
        write(page, row, "Email", "fine@b.org")
        write(page, row, "Country", country)
    judged(page, "2 would be accepted")
    opened(page, flow, reason=NO_COUNTRY)
    write(page, 1, "Country", "Germany")
    write(page, 2, "Country", "Italy")
    judged(page)


def cells(site: Site, flow: str) -> dict[int, Any]:
    """The draft, by the numbers of the rejects."""
    return {one["row"]: one["cells"] for one in site.ask("GET", f"/v1/drafts/{flow}")["items"]}


def others(page: Any) -> Any:
    return page.locator(".others")


def test_submit_sends_the_rows_of_the_reason_and_names_the_others(page: Any, site: Site) -> None:
    edited(page, site, "one")
    expect(page.locator(".state")).to_contain_text("9 rows, 3 edited and saved: 2 would be accepted")
    expect(others(page).get_by_role("listitem")).to_have_text(
        [
            "2 rows of this page; 1 more edited, not accepted yet",
            f"1 row of {NO_ADDRESS}",
        ]
    )
    page.get_by_role("button", name="Submit 2 corrected rows").click()
    expect(page.get_by_text("has ended SUCCEEDED: 2 rows accepted.")).to_be_visible()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "8")
    assert open_rows(site, "one") == {None: 8, NO_COUNTRY: 7, NO_ADDRESS: 1}
    assert sorted(cells(site, "one").values(), key=str) == [
        {"Country": "Italy"},
        {"Email": "fine@b.org"},
    ], "the others are still in the draft"
    others(page).get_by_role("link", name=NO_ADDRESS).click()
    expect(page.get_by_label("Reason")).to_have_value(NO_ADDRESS)
    expect(cell(page, 1, "Email")).to_have_text("fine@b.org")
    expect(page.get_by_role("button", name="Submit 1 corrected row")).to_be_enabled()
    expect(others(page).get_by_role("listitem")).to_have_text(
        [
            "1 row of this page",
            f"0 rows of {NO_COUNTRY}; 1 more edited, not accepted yet",
        ]
    )


def test_all_rows_are_submitted_by_a_second_button(page: Any, site: Site) -> None:
    edited(page, site, "every")
    page.get_by_role("button", name="Submit all 3 rows").click()
    expect(page.get_by_text("has ended SUCCEEDED: 3 rows accepted.")).to_be_visible()
    assert open_rows(site, "every") == {None: 7, NO_COUNTRY: 7}
    expect(others(page)).to_be_empty()
    opened(page, "every")
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "8")
    expect(others(page)).to_be_empty()


def test_an_answer_that_is_lost_is_asked_for_with_the_reason_again(page: Any, site: Site) -> None:
    edited(page, site, "lost")
    tries: list[Any] = []

    def lose(route: Any) -> None:
        tries.append(route.request.post_data_json)
        if len(tries) > 1:
            return route.continue_()
        route.fetch()  # the server gets it, and its answer is lost
        return route.abort()

    page.route("**/submit", lose)
    page.get_by_role("button", name="Submit 2 corrected rows").click()
    expect(page.get_by_text("2 rows submitted as run")).to_be_visible()
    assert tries[0] == tries[1]
    assert tries[0]["reason"] == NO_COUNTRY
    page.get_by_text("has ended SUCCEEDED: 2 rows accepted.").wait_for()
    assert open_rows(site, "lost")[None] == 8


def test_only_edits_of_the_reason_are_removed(page: Any, site: Site) -> None:
    edited(page, site, "removed")
    page.get_by_role("button", name="Remove my edits").click()
    expect(page.get_by_text("Remove your edits of 3 rows of this reason?")).to_be_visible()
    page.get_by_role("button", name="Remove them").click()
    expect(cell(page, 1, "Country")).to_have_text("Germny")
    expect(page.get_by_role("button", name="Submit 0 corrected rows")).to_be_disabled()
    assert [*cells(site, "removed").values()] == [{"Email": "fine@b.org"}]
    expect(page.get_by_role("button", name="Submit all 1 row")).to_be_enabled()


def test_what_another_tab_has_edited_is_not_submitted_unseen(page: Any, signed: Any, site: Site) -> None:
    rejecting(site, "tabs")
    opened(page, "tabs", reason=NO_COUNTRY)
    with watched(signed.new_page()) as other:
        other.goto(site.url)
        other.get_by_role("heading", name="Overview").wait_for()
        opened(other, "tabs", reason=NO_COUNTRY)
        write(other, 5, "Country", "France")
        judged(other, "1 would be accepted")
    write(page, 1, "Country", "Germany")
    judged(page, "2 edited and saved: 2 would be accepted")
    expect(cell(page, 5, "Country")).to_have_text("France")
    expect(page.get_by_role("button", name="Submit 2 corrected rows")).to_be_enabled()


@pytest.fixture(scope="module")
def columns(site: Site) -> str:
    """A flow with rows of each kind of reason; no test changes them."""
    rejecting(site, "columns", TYPOS + "12\n")
    return "columns"


@pytest.mark.parametrize(
    ("reason", "column"),
    [(NO_ADDRESS, "Email"), ("malformed line: too few columns", "_lume_raw"), ("", "Country")],
)
def test_it_begins_in_the_column_that_the_reason_is_about(
    page: Any, columns: str, reason: str, column: str
) -> None:
    opened(page, columns, **({"reason": reason} if reason else {}))
    page.get_by_role("button", name="Find and replace").click()
    form = page.get_by_role("form", name="Find and replace")
    expect(form.get_by_label("Column")).to_have_value(column)
    form.get_by_label("Find", exact=True).fill("nowhere")
    label = "Malformed line" if column == "_lume_raw" else column
    expect(form.get_by_text(f"0 cells in {label}", exact=True)).to_be_visible()
    form.get_by_role("button", name="Replace all").click()
    expect(page.get_by_text(f"0 cells changed in {label}.")).to_be_visible()
    if reason:
        cell(page, 1, "Note").click()  # to read it, say
        page.get_by_role("button", name="Find and replace").click()
        page.get_by_role("button", name="Find and replace").click()
        expect(form.get_by_label("Column")).to_have_value(column)
    page.get_by_role("button", name="Suggest").click()
    form = page.get_by_role("form", name="Suggest repairs")
    expect(form.locator("[name=column]")).to_have_value(column)
    expect(form.locator("[name=reason]")).to_have_value(reason or NO_COUNTRY)
