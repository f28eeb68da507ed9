"""Who gets in, as a browser sees it."""

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from components import package
from local.http.access.test_keys import entry

from console.conftest import signed_in, watched
from console.site import GOOD, Site, running, usual

expect = package("playwright.sync_api").expect
NOT_IN = "This browser is not signed in"


@pytest.fixture
def page(visitor: Any, site: Site) -> Any:
    """A page with a session of its own: some of these tests end it."""
    return signed_in(visitor, site)


@pytest.mark.thorough
def test_a_link_signs_in_and_leaves_no_token_behind(visitor: Any, site: Site) -> None:
    link = site.server.console_url("Anna")
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()
    expect(visitor.locator("header .who")).to_have_text("Signed in as server:Anna (admin)")
    expect(visitor.get_by_role("button", name="Sign out")).to_be_visible()
    assert visitor.url == f"{site.url}/#/"
    assert visitor.context.cookies() == []
    token = link.partition("token=")[2]
    assert token not in visitor.evaluate(
        "JSON.stringify([history.state, location.href, {...sessionStorage}])"
    )
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
    expect(page.get_by_role("alert")).to_contain_text("already used")
    other.close()
    visitor.goto("about:blank")
    visitor.goto(link)
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.mark.thorough
@pytest.mark.parametrize("place", ["", "#token=wrong", "#/runs/%"])
def test_without_a_good_link_there_is_nothing_to_see(visitor: Any, site: Site, place: str) -> None:
    visitor.goto(f"{site.url}/{place}")
    expect(visitor.get_by_role("heading", name=NOT_IN)).to_be_visible()
    expect(visitor.get_by_role("navigation")).to_have_count(0)


def test_a_session_that_ends_meanwhile_is_said(page: Any, site: Site) -> None:
    page.evaluate("import('/console/files/api.js').then((api) => api.signOut())")
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", name=NOT_IN)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("The session has ended")


@pytest.mark.thorough
def test_a_name_that_leads_here_shows_nothing(visitor: Any, site: Site) -> None:
    port = site.url.rpartition(":")[2]
    token = site.server.console_url().partition("#")[2]
    answer = visitor.goto(f"http://rebound.example:{port}/#{token}")
    assert answer.status == 421
    assert "IP address or by localhost" in visitor.locator("body").inner_text()
    visitor.goto(f"http://localhost:{port}/#{token}")
    expect(visitor.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that knows an administrator and somebody who only reads."""
    home = tmp_path_factory.mktemp("people")
    (home / "keys.toml").write_text(entry("ann", "admin") + entry("eve", "read"))
    with running(home, usual(home), keys=home / "keys.toml") as site:
        yield site


def link_of(site: Site, key: str) -> str:
    token = site.ask("POST", "/console/links", {}, **{"lume-api-key": key})["token"]
    return f"{site.url}/#token={token}"


def is_signed_in_as(page: Any, words: str) -> None:
    """The header says so."""
    page.get_by_role("heading", name="Overview", level=1).wait_for()
    expect(page.locator("header .who")).to_have_text(f"Signed in as {words}")


def asked(page: Any) -> None:
    """It is asked who is to be signed in, and nothing has happened yet."""
    expect(page.get_by_role("heading", name="You are signed in already")).to_be_visible()
    expect(page.locator("main")).to_contain_text("This browser is signed in as ann (admin).")
    expect(page.locator("main")).to_contain_text("would sign this tab in as eve (read).")
    expect(page.get_by_role("button", name="Keep ann (admin)")).to_be_focused()
    expect(page.get_by_role("navigation")).to_have_count(0)
    assert "token" not in page.url


@pytest.mark.thorough
def test_every_page_says_who_is_signed_in(visitor: Any, people: Site) -> None:
    visitor.goto(link_of(people, "ann"))
    is_signed_in_as(visitor, "ann (admin)")
    for place in (
        "inbox",
        "runs",
        "flows",
        "flows/people",
        "arrivals",
        "inbox/people",
        "map/people",
        "nowhere",
    ):
        visitor.goto("about:blank")
        visitor.goto(f"{people.url}/#/{place}")
        visitor.locator("main h1").wait_for()
        expect(visitor.locator("header .who")).to_have_text("Signed in as ann (admin)")


@pytest.mark.thorough
def test_a_link_does_not_end_the_session_of_somebody_else(visitor: Any, people: Site) -> None:
    visitor.goto(link_of(people, "ann"))
    is_signed_in_as(visitor, "ann (admin)")
    before = visitor.evaluate("sessionStorage.getItem('lume-session')")
    visitor.goto("about:blank")
    visitor.goto(link_of(people, "eve"))
    asked(visitor)
    visitor.keyboard.press("Enter")
    is_signed_in_as(visitor, "ann (admin)")
    assert visitor.evaluate("sessionStorage.getItem('lume-session')") == before
    assert people.ask("GET", "/console/session", **{"lume-console-session": before})["name"] == "ann"


@pytest.mark.thorough
def test_who_wants_to_is_signed_in_as_somebody_else_and_only_in_this_tab(visitor: Any, people: Site) -> None:
    visitor.goto(link_of(people, "ann"))
    is_signed_in_as(visitor, "ann (admin)")
    # By a link that a page has, say: it opens a tab, which has the session of the others.
    with watched(visitor.context.new_page()) as tab:
        tab.goto(link_of(people, "eve"))
        asked(tab)
        tab.get_by_role("button", name="Sign in as eve (read)").click()
        is_signed_in_as(tab, "eve (read)")
        tab.reload()
        is_signed_in_as(tab, "eve (read)")
        visitor.reload()
        is_signed_in_as(visitor, "ann (admin)")


@pytest.mark.thorough
def test_a_link_that_is_pasted_into_an_open_page_is_asked_about(visitor: Any, people: Site) -> None:
    visitor.goto(link_of(people, "ann"))
    is_signed_in_as(visitor, "ann (admin)")
    visitor.goto(link_of(people, "eve"))  # changes what is after the # only
    asked(visitor)
    visitor.get_by_role("button", name="Keep").click()
    is_signed_in_as(visitor, "ann (admin)")
    visitor.get_by_role("button", name="Sign out").click()
    visitor.get_by_role("heading", name=NOT_IN).wait_for()
    visitor.goto(link_of(people, "eve"))
    is_signed_in_as(visitor, "eve (read)")
    visitor.goto(link_of(people, "eve"))  # the same person: there is nothing to ask
    is_signed_in_as(visitor, "eve (read)")


@pytest.mark.thorough
def test_a_wrong_token_never_ends_a_session(visitor: Any, people: Site) -> None:
    visitor.goto(link_of(people, "ann"))
    is_signed_in_as(visitor, "ann (admin)")
    for token, is_open in (("wrong", True), ("", False), ("x" * 1000, False)):
        if not is_open:
            visitor.goto("about:blank")
        visitor.goto(f"{people.url}/#token={token}")
        wrong = visitor.get_by_text("this link is wrong, older than 10 minutes, or already used")
        expect(wrong).to_be_visible()
        assert visitor.url == f"{people.url}/#/"
        is_signed_in_as(visitor, "ann (admin)")


@pytest.mark.thorough
def test_a_session_that_has_ended_is_replaced_without_a_question(visitor: Any, people: Site) -> None:
    visitor.goto(link_of(people, "ann"))
    is_signed_in_as(visitor, "ann (admin)")
    session = visitor.evaluate("sessionStorage.getItem('lume-session')")
    visitor.goto("about:blank")
    headers = {"lume-console-session": session}
    urllib.request.urlopen(
        urllib.request.Request(f"{people.url}/console/session", headers=headers, method="DELETE")
    )
    visitor.goto(link_of(people, "eve"))
    is_signed_in_as(visitor, "eve (read)")


@pytest.mark.thorough
def test_a_server_that_does_not_answer_leaves_the_session(visitor: Any, people: Site) -> None:
    visitor.goto(link_of(people, "ann"))
    is_signed_in_as(visitor, "ann (admin)")
    visitor.goto("about:blank")
    visitor.route(
        "**/console/session",
        lambda route: route.abort() if route.request.method == "POST" else route.continue_(),
    )
    visitor.goto(link_of(people, "eve"))
    expect(visitor.get_by_text("The server can't be reached")).to_be_visible()
    is_signed_in_as(visitor, "ann (admin)")


class Elsewhere:
    """Another server of this host, on a port of its own: for a browser the same site, of another origin."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.sent: list[dict[str, str]] = []
        """The headers of each request that reached it."""


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there.sent.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title>")

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = Elsewhere(server.server_port)
        yield there
        server.shutdown()


def taken(page: Any) -> dict[str, Any]:
    """All that a page can read of what its browser keeps."""
    return dict(
        page.evaluate(
            """async () => ({
                session: {...sessionStorage}, local: {...localStorage}, cookies: document.cookie, name: window.name,
                databases: (await indexedDB.databases()).length, caches: self.caches ? await caches.keys() : [],
                heard: await new Promise((resolve) => {
                    const channel = new BroadcastChannel("lume-session");
                    channel.onmessage = ({ data }) => resolve(data);
                    channel.postMessage(null);
                    setTimeout(() => resolve(null), 500);
                }),
            })"""
        )
    )


@pytest.mark.thorough
def test_another_server_of_this_host_is_given_nothing_that_suffices(
    page: Any, site: Site, elsewhere: Elsewhere
) -> None:
    """It takes all that the browser sends to it and keeps for it, and claims to be the console's page."""
    tab = page.context.new_page()
    tab.goto(elsewhere.url)
    tab.evaluate("(url) => fetch(url, {method: 'POST', credentials: 'include', body: 'x'})", elsewhere.url)
    kept = taken(tab)
    assert (kept["session"], kept["local"], kept["cookies"], kept["heard"]) == ({}, {}, "", None)
    assert len(elsewhere.sent) >= 2
    claims = {"Origin": site.url, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/toml"}
    for headers in elsewhere.sent:
        others = {name: value for name, value in headers.items() if name not in ("Host", "Content-Length")}
        for method, path in (
            ("PUT", "/v1/flows/people/versions/v7"),
            ("GET", "/v1/runs"),
            ("POST", "/console/links"),
        ):
            request = urllib.request.Request(site.url + path, b"", {**others, **claims}, method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=30)
            assert refused.value.code == 401
            refused.value.close()
    with_header = (
        "(url) => fetch(url, {headers: {'lume-console-session': 'x'}}).then(() => 'sent', () => 'refused')"
    )
    assert tab.evaluate(with_header, f"{site.url}/v1/runs") == "refused"
    assert page.evaluate("Object.values(sessionStorage).length") == 1, "and there is something to take"
    tab.close()


@pytest.mark.thorough
def test_another_tab_is_signed_in_as_long_as_the_first_one_is(page: Any, site: Site) -> None:
    tab = page.context.new_page()
    tab.goto(f"{site.url}/#/flows")
    expect(tab.get_by_role("heading", name="Flows")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name=NOT_IN)).to_be_visible()
    tab.get_by_role("link", name="Runs", exact=True).click()
    expect(tab.get_by_role("heading", name=NOT_IN)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name=NOT_IN)).to_be_visible()
    tab.close()


@pytest.mark.thorough
def test_another_pages_requests_do_nothing(page: Any, site: Site, elsewhere: Elsewhere) -> None:
    site.write("cross.csv", GOOD)
    page.goto(elsewhere.url)
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
    page.goto(elsewhere.url)
    assert page.evaluate(read, site.url) == "refused"


@pytest.mark.thorough
def test_the_page_is_not_shown_inside_another(page: Any, site: Site, elsewhere: Elsewhere) -> None:
    page.goto(elsewhere.url)
    page.evaluate(
        """(url) => { const frame = document.createElement("iframe"); frame.src = url;
        document.body.append(frame); return new Promise((resolve) => { frame.onload = resolve; }); }""",
        site.url,
    )
    assert "Lume" not in page.frames[-1].content()
