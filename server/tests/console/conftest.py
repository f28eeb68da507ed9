"""One chromium for all the tests of the console that a process runs, and a profile with a session for each file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from components import component, package

from console.site import Site, running, usual

FLAGS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--renderer-process-limit=1"),
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    program = component("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    playwright = package("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with the usual flows, the same for all tests of a file."""
    home = tmp_path_factory.mktemp("site")
    with running(home, usual(home)) as site:
        yield site


@pytest.fixture
def visitor(browser: Any) -> Iterator[Any]:
    """A page of a browser that has no session."""
    with profile(browser) as fresh, watched(fresh.new_page()) as page:
        yield page


@pytest.fixture(scope="module")
def signed(browser: Any, site: Site) -> Iterator[Any]:
    """A profile with a session: a fresh one costs more than most of the tests, so those of a file share it."""
    with profile(browser) as shared:
        signed_in(shared.new_page(), site)  # stays: the other pages have their session from it
        yield shared


@pytest.fixture
def page(signed: Any, site: Site) -> Iterator[Any]:
    """A page that is signed in."""
    with watched(signed.new_page()) as page:
        page.goto(site.url)
        page.get_by_role("heading", name="Overview").wait_for()
        yield page


@contextmanager
def profile(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(10_000)
    yield context
    context.close()


@contextmanager
def watched(page: Any) -> Iterator[Any]:
    """No script of the page may fail."""
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if is_refused(message.text) else None)
    yield page
    page.close()
    assert failures == []


def is_refused(message: str) -> bool:
    """Whether the policy of the page has kept it from something that it wants; one test puts it into a frame."""
    return "Security Policy" in message and "frame-ancestors" not in message


def signed_in(page: Any, site: Site) -> Any:
    page.goto(site.server.console_url())
    page.get_by_role("heading", name="Overview").wait_for()
    return page


def signed_in_as(page: Any, site: Site, key: str) -> Any:
    """With a session of this key."""
    token = site.ask("POST", "/console/links", {}, **{"lume-api-key": key})["token"]
    page.goto(f"{site.url}/#token={token}")
    page.get_by_role("heading", name="Overview").wait_for()
    return page
