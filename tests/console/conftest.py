"""One chromium for all the tests of the console that a process runs, and a fresh profile with a session for each."""

from collections.abc import Iterator
from typing import Any

import pytest
from components import component, package

from console.site import Site, running, usual

FLAGS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    program = component("chromium", "chromium-browser", "google-chrome")
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
    """A page of a browser that has no session. No script of it may fail."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    context.set_default_timeout(10_000)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if is_refused(message.text) else None)
    yield page
    context.close()
    assert failures == []


def is_refused(message: str) -> bool:
    """Whether the policy of the page has kept it from something that it wants; one test puts it into a frame."""
    return "Security Policy" in message and "frame-ancestors" not in message


@pytest.fixture
def page(visitor: Any, site: Site) -> Any:
    """A page that is signed in."""
    return signed_in(visitor, site)


def signed_in(page: Any, site: Site) -> Any:
    page.goto(site.server.console_url())
    page.get_by_role("heading", name="Overview").wait_for()
    return page
