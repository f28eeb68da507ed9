"""Where an address leads, what an empty server shows, and what happens while the server is away."""

from collections.abc import Iterator
from typing import Any

import pytest
from components import package

from console.site import Site, running, usual

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server without runs."""
    home = tmp_path_factory.mktemp("empty")
    with running(home, usual(home)) as site:
        yield site


def go(page: Any, place: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", place)


def test_an_address_that_is_none_is_said(page: Any) -> None:
    for place in ("#/nowhere", "#/arrivals/acme", "#/constructor"):
        go(page, place)
        expect(page.get_by_role("alert")).to_have_text(f"There is no page at {place}: choose one above.")
    page.go_back()
    page.go_back()
    expect(page.get_by_role("alert")).to_contain_text("#/nowhere")
    page.get_by_role("link", name="Flows").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Flows")


def test_a_page_that_maps_a_file_is_one_of_the_flows(page: Any) -> None:
    go(page, "#/map/people")
    expect(page.get_by_role("heading", level=1)).to_have_text("Map a file")
    expect(page.get_by_role("link", name="Flows").first).to_have_attribute("aria-current", "page")
    go(page, "#/map")
    expect(page.get_by_role("heading", level=1)).to_have_text("Flows")


def test_a_server_without_runs(page: Any) -> None:
    go(page, "#/runs")
    expect(page.get_by_text("There is no run yet.")).to_be_visible()
    page.get_by_label("Failed").check()
    expect(page.get_by_text("No run matches these filters.")).to_be_visible()
    go(page, "#/inbox")
    expect(page.get_by_text("No rejected row is open.")).to_be_visible()


def test_a_page_that_could_not_be_loaded_is_shown_once_the_server_answers(page: Any) -> None:
    page.route("**/v1/flows?*", lambda route: route.abort())
    go(page, "#/flows")
    expect(page.get_by_role("alert")).to_contain_text(
        "The server can't be reached: check that it is running, and your connection to it. "
        "This page is shown as soon as it answers."
    )
    expect(page.locator("#live")).to_have_text("Server away")
    page.unroute("**/v1/flows?*")
    expect(page.get_by_role("heading", level=1)).to_have_text("Flows")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator("#live")).to_have_text("Live")


def test_a_page_that_was_left_is_not_tried_again(page: Any) -> None:
    page.route("**/v1/flows?*", lambda route: route.abort())
    go(page, "#/flows")
    page.get_by_role("alert").wait_for()
    page.get_by_role("link", name="Inbox").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Inbox")
    tried: list[str] = []
    page.on("request", lambda request: tried.append(request.url) if "/v1/flows?" in request.url else None)
    page.wait_for_timeout(3500)  # what is not tried makes no sign: more than the page waits for
    assert tried == []
    page.unroute("**/v1/flows?*")
