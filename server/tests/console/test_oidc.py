"""Signing in at a real OpenID Connect issuer, as a browser sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from components import package
from local.oidc import entry, issuer
from local.receiver import unused_port

from console.site import Site, running, usual

expect = package("playwright.sync_api").expect
NOT_IN = "This browser is not signed in"
IN = "Overview"


@pytest.fixture(scope="module")
def issuer_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    key = package("joserfc.jwk").RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256"})
    with issuer(tmp_path_factory.mktemp("issuer"), unused_port(), key) as url:
        yield url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, issuer_url: str) -> Iterator[Site]:
    """A server at which people of this issuer sign in; ann may read, bob may submit."""
    home: Path = tmp_path_factory.mktemp("site")
    client = 'client_id = "lume-console"'
    (home / "keys.toml").write_text(
        entry("ann", "read", issuer_url, "groups", "ann", client)
        + entry("bob", "submit", issuer_url, "groups", "bob", client)
    )
    with running(home, usual(home), keys=home / "keys.toml") as site:
        yield site


def at_issuer(page: Any, site: Site, name: str, *, stays: bool = False) -> None:
    """Go to the issuer and give it a name; what it leads back to is not awaited, and `stays` without its script."""
    page.goto(site.url)
    page.get_by_role("button", name="Sign in at 127.0.0.1").click()
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    if stays:
        page.route("**/main.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.get_by_role("button", name="Continue").click()


def session(page: Any) -> dict[str, str]:
    return {"lume-console-session": page.evaluate("sessionStorage.getItem('lume-session')")}


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "submits"), [("ann", 403), ("bob", 201)])
def test_who_signs_in_has_the_role_of_the_entry(visitor: Any, site: Site, name: str, submits: int) -> None:
    at_issuer(visitor, site, name)
    expect(visitor.get_by_role("heading", name=IN)).to_be_visible()
    role = {"ann": "read", "bob": "submit"}[name]
    expect(visitor.locator("header .who")).to_have_text(f"Signed in as {name}:{name} ({role})")
    assert visitor.url == f"{site.url}/#/"
    assert visitor.evaluate("Object.keys(sessionStorage)") == ["lume-session"]
    body = {
        "flow_version": "people:v1",
        "source_path": site.write(f"{name}.csv", "id,Email,Age\n1,a@b.org,5\n"),
    }
    answer = visitor.request.post(f"{site.url}/v1/runs", data=body, headers=session(visitor))
    assert answer.status == submits
    visitor.get_by_role("button", name="Sign out").click()
    expect(visitor.get_by_role("button", name="Sign in at 127.0.0.1")).to_be_visible()


@pytest.mark.thorough
def test_someone_without_a_role(visitor: Any, site: Site) -> None:
    at_issuer(visitor, site, "eve")
    expect(visitor.get_by_role("heading", name=NOT_IN)).to_be_visible()
    expect(visitor.get_by_role("alert")).to_contain_text("none of its claims gives it a role")


@pytest.mark.thorough
def test_a_code_is_worth_nothing_in_another_browser(browser: Any, visitor: Any, site: Site) -> None:
    """Else somebody could have others work in a session that is theirs."""
    at_issuer(visitor, site, "ann", stays=True)
    visitor.wait_for_url("**code=**")
    stolen = visitor.url
    other = browser.new_context()
    page = other.new_page()
    page.goto(stolen)
    expect(page.get_by_role("alert")).to_contain_text("was not started here")
    # Nor for a program that knows it: the verifier is in the tab that began.
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    fields = {"code": code, "verifier": "x" * 43, "nonce": "n", "redirect_uri": f"{site.url}/"}
    issuer_url = json.loads(page.request.get(f"{site.url}/console/issuers").text())["items"][0]["issuer"]
    answer = page.request.post(f"{site.url}/console/session", data={**fields, "issuer": issuer_url})
    assert (answer.status, "does not accept this sign-in" in answer.json()["detail"]) == (401, True)
    other.close()


@pytest.mark.thorough
def test_who_cancels_is_told_so(visitor: Any, site: Site) -> None:
    visitor.goto(site.url)
    visitor.get_by_role("button", name="Sign in at 127.0.0.1").click()
    visitor.get_by_role("link", name="Cancel").click()
    expect(visitor.get_by_role("alert")).to_contain_text("Not signed in")


def test_what_no_page_sends(visitor: Any, site: Site, issuer_url: str) -> None:
    fields = {"code": "c", "verifier": "v" * 43, "nonce": "n", "issuer": issuer_url}
    fields["redirect_uri"] = f"{site.url}/"
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"redirect_uri": "http://evil.example/"}, 422, "is not the address of this page"),
        ({"issuer": "http://127.0.0.1:1"}, 401, "nobody signs in at this issuer"),
        ({"code": ""}, 422, "code: must be a string"),
        ({"nonce": 7}, 422, "nonce: must be a string"),
        ({"verifier": None}, 422, "verifier: must be a string"),
        ({}, 401, "does not accept this sign-in"),
    ]
    for changes, status, words in cases:
        answer = visitor.request.post(f"{site.url}/console/session", data=fields | changes)
        assert (answer.status, words in answer.json()["detail"]) == (status, True), answer.text()
