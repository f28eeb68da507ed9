"""Who gets in, as a browser sees it."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from components import package

from console.conftest import signed_in
from console.site import GOOD, Site

expect = package("playwright.sync_api").expect
NOT_IN = "This browser is not signed in"


@pytest.fixture
def page(visitor: Any, site: Site) -> Any:
    """A page with a session of its own: some of these tests end it."""
    return signed_in(visitor, site)


def test_a_link_signs_in_and_leaves_no_token_behind(visitor: Any, site: Site) -> None:
    link = site.server.console_url()
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()
    assert visitor.url == f"{site.url}/#/"
    (cookie,) = visitor.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    token = link.partition("token=")[2]
    assert token not in visitor.evaluate("JSON.stringify([history.state, location.href, document.cookie])")
    visitor.reload()
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_link_that_was_used_signs_nobody_in(browser: Any, visitor: Any, site: Site) -> None:
    link = site.server.console_url()
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()
    other = browser.new_context()
    page = other.new_page()
    page.goto(link)
    expect(page.get_by_role("heading", name=NOT_IN)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("used already")
    other.close()
    visitor.goto("about:blank")
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.mark.parametrize("place", ["", "#token=wrong", "#token=", "#/runs", "#/runs/%"])
def test_without_a_good_link_there_is_nothing_to_see(visitor: Any, site: Site, place: str) -> None:
    visitor.goto(f"{site.url}/{place}")
    expect(visitor.get_by_role("heading", name=NOT_IN)).to_be_visible()
    expect(visitor.get_by_role("navigation")).to_have_count(0)


def test_signing_out_ends_the_session(page: Any, site: Site) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name=NOT_IN)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name=NOT_IN)).to_be_visible()


def test_a_session_that_ends_meanwhile_is_said(page: Any, site: Site) -> None:
    page.context.clear_cookies()
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", name=NOT_IN)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("The session has ended")


def test_a_name_that_leads_here_shows_nothing(visitor: Any, site: Site) -> None:
    port = site.url.rpartition(":")[2]
    token = site.server.console_url().partition("#")[2]
    answer = visitor.goto(f"http://rebound.example:{port}/#{token}")
    assert answer.status == 421
    assert "IP address or by localhost" in visitor.locator("body").inner_text()
    visitor.goto(f"http://localhost:{port}/#{token}")
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another site on this machine: for a browser the same site, of another origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_another_pages_requests_do_nothing(page: Any, site: Site, elsewhere: str) -> None:
    site.write("cross.csv", GOOD)
    page.goto(elsewhere)
    sent = page.evaluate(
        """async ([url, type]) => {
            const body = JSON.stringify({flow_version: "people:v1", source_path: "cross.csv"});
            const options = {method: "POST", credentials: "include", mode: "no-cors", body};
            const answer = await fetch(url + "/v1/runs", {...options, headers: {"Content-Type": type}});
            return answer.type;
        }""",
        [site.url, "text/plain"],
    )
    assert sent == "opaque", "it was sent, and its answer can't be read"
    assert site.ask("GET", "/v1/runs?source_path=cross.csv")["items"] == []
    form = """(url) => { const form = document.createElement("form"); form.method = "POST";
        form.action = url + "/v1/runs"; document.body.append(form); form.submit(); }"""
    with page.expect_navigation() as answered:
        page.evaluate(form, site.url)
    assert answered.value.status == 401
    read = "(url) => fetch(url + '/v1/runs', {credentials: 'include'}).then(() => 'read', () => 'refused')"
    page.goto(elsewhere)
    assert page.evaluate(read, site.url) == "refused"


def test_the_page_is_not_shown_inside_another(page: Any, site: Site, elsewhere: str) -> None:
    page.goto(elsewhere)
    page.evaluate(
        """(url) => { const frame = document.createElement("iframe"); frame.src = url;
        document.body.append(frame); return new Promise((resolve) => { frame.onload = resolve; }); }""",
        site.url,
    )
    assert "Lume" not in page.frames[-1].content()
