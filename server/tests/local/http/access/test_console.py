"""The console's door: who gets in, from where, and what is said of the page. Without a browser."""

import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest
from local.http.access.test_keys import entry

import lume_local
from lume_async.errors import ConfigurationError

FOLDER = Path(lume_local.__file__).parent / "_console"


def token_of(server: lume_local.Server) -> str:
    base_url, _, token = server.console_url().partition("/#token=")
    assert base_url == server.base_url
    return token


@pytest.fixture
async def browser(server: lume_local.Server) -> AsyncIterator[aiohttp.ClientSession]:
    """As a browser: it keeps cookies, and has no key."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(server.base_url, cookie_jar=jar) as session:
        yield session
        assert len(jar) == 0, "a cookie would go to every port of the host"


async def sign_in(browser: aiohttp.ClientSession, token: object) -> dict[str, str] | None:
    """The headers of a session, None where the link is refused."""
    async with browser.post("/console/session", json={"token": token}) as response:
        if response.status != 201:
            assert response.status == 401
            return None
        return {"lume-console-session": (await response.json())["session"]}


async def link(browser: aiohttp.ClientSession, headers: dict[str, str]) -> str:
    async with browser.post("/console/links", headers=headers) as response:
        assert response.status == 201
        return str((await response.json())["token"])


async def status(browser: aiohttp.ClientSession, method: str, path: str, **options: object) -> int:
    async with browser.request(method, path, **options) as response:  # type: ignore[arg-type]
        return response.status


async def test_a_link_opens_one_session(server: lume_local.Server, browser: aiohttp.ClientSession) -> None:
    token = token_of(server)
    assert await status(browser, "GET", "/v1/runs") == 401
    own = await sign_in(browser, token)
    assert own is not None
    assert await status(browser, "GET", "/v1/runs", headers=own) == 200
    assert await sign_in(browser, token) is None
    assert await status(browser, "GET", "/v1/runs", headers=own) == 200
    assert await status(browser, "DELETE", "/console/session", headers=own) == 204
    assert await status(browser, "GET", "/v1/runs", headers=own) == 401


async def test_what_a_session_has_made_ends_when_it_signs_out(
    server: lume_local.Server, browser: aiohttp.ClientSession
) -> None:
    own = await sign_in(browser, token_of(server))
    assert own is not None
    used, unused = await link(browser, own), await link(browser, own)
    other = await sign_in(browser, used)
    assert await status(browser, "GET", "/v1/runs", headers=other) == 200
    assert await status(browser, "DELETE", "/console/session", headers=own) == 204
    assert await sign_in(browser, unused) is None
    assert await status(browser, "GET", "/v1/runs", headers=other) == 401
    assert await status(browser, "POST", "/console/links", headers=other) == 401


async def named_session(browser: aiohttp.ClientSession, key: str, body: object) -> tuple[str, dict[str, str]]:
    """The name in the answer, and the headers of a session of a new link."""
    async with browser.post("/console/links", json=body, headers={"lume-api-key": key}) as response:
        assert response.status == 201
        made = await response.json()
    session = await sign_in(browser, made["token"])
    assert session is not None
    async with browser.get("/console/session", headers=session) as response:
        assert (await response.json())["name"] == made["name"]
    return str(made["name"]), session


async def test_a_link_of_the_servers_own_key_bears_the_name_of_a_person(home: Path) -> None:
    (home / "keys.toml").write_text(entry("bob", "admin"))
    folders = (home / "flows", home / ".lume", [home])
    async with (
        lume_local.serve(*folders, keys=home / "keys.toml") as server,
        aiohttp.ClientSession(server.base_url) as browser,
    ):
        own = {"lume-api-key": server.api_key}
        name, session = await named_session(browser, server.api_key, {"name": "Anna Öz"})
        assert name == "server:Anna Öz"
        definition = {"flow": "named", "version": "v1", "columns": {"id": {}}}
        options = {"json": definition, "headers": session}
        assert await status(browser, "PUT", "/v1/flows/named/versions/v1", **options) == 201
        async with browser.get("/v1/audit", headers=own) as response:
            first = (await response.json())["items"][0]
        assert (first["by"], first["what"]) == ("server:Anna Öz", "register_flow")
        assert (await named_session(browser, server.api_key, {}))[0] == "server"
        assert (await named_session(browser, "bob", {"name": "anna"}))[0] == "bob", "nobody poses as another"
        assert await status(browser, "POST", "/console/links", headers=own) == 201
        for wrong in ({"name": 1}, {"name": " "}, {"name": "a\nb"}, {"name": "a" * 65}, {"other": 1}):
            assert await status(browser, "POST", "/console/links", json=wrong, headers=own) == 422, wrong
        async with aiohttp.ClientSession(server.base_url) as other:
            headers = await sign_in(other, server.console_url("carl").partition("#token=")[2])
            async with other.get("/console/session", headers=headers) as response:
                assert await response.json() == {"name": "server:carl", "role": "admin"}


async def test_a_wrong_token_opens_none(browser: aiohttp.ClientSession) -> None:
    for token in ("wrong", "", 1, None):
        assert await sign_in(browser, token) is None, token
        assert await status(browser, "POST", "/console/session", json={}) == 401


async def test_only_the_header_carries_a_session(
    server: lume_local.Server, browser: aiohttp.ClientSession
) -> None:
    """What a browser sends by itself is worth nothing, so no other page can have it send a request of ours."""
    own = await sign_in(browser, token_of(server))
    assert own is not None
    (secret,) = own.values()
    page = {"Sec-Fetch-Site": "same-origin", "Origin": server.base_url}
    for ambient in (
        {"Cookie": f"lume-console-session={secret}; lume={secret}"},
        {"Authorization": f"Bearer {secret}"},
        {"Referer": f"{server.base_url}/#{secret}"},
        {"lume-api-key": secret},
    ):
        assert await status(browser, "GET", "/v1/runs", headers={**ambient, **page}) == 401
    assert await status(browser, "GET", f"/v1/runs?lume-console-session={secret}", headers=page) == 401
    asked = {"Origin": "http://127.0.0.1:1", "Access-Control-Request-Headers": "lume-console-session"}
    async with browser.options("/v1/runs", headers=asked) as preflight:
        assert not [name for name in preflight.headers if name.lower().startswith("access-control")]


async def test_a_rebound_name_gets_nothing(server: lume_local.Server, browser: aiohttp.ClientSession) -> None:
    rebound = {"Host": "evil.example"}
    for path in ("/", "/console/files/main.js"):
        assert await status(browser, "GET", path, headers=rebound) == 421
    options = {"json": {"token": token_of(server)}, "headers": rebound}
    assert await status(browser, "POST", "/console/session", **options) == 421


async def test_names_of_a_proxy_and_of_this_machine_are_no_other_sites(home: Path) -> None:
    names = {"console_hosts": ["Lume.example.com"]}
    async with (
        lume_local.serve(home / "flows", home / ".lume", [home], **names) as server,
        aiohttp.ClientSession(server.base_url) as browser,
    ):
        for host in ("lume.example.com", "lume.example.com:8080", socket.gethostname()):
            assert await status(browser, "GET", "/", headers={"Host": host}) == 200
        assert await status(browser, "GET", "/", headers={"Host": "example.com"}) == 421


async def test_what_is_no_host_name_is_refused(home: Path) -> None:
    for hosts in ("lume.example.com", ["https://lume.example.com"], ["a:80"], [""]):
        with pytest.raises(ConfigurationError, match="console_hosts"):
            async with lume_local.serve(home / "flows", home / ".lume", [home], console_hosts=hosts):
                pass


async def test_a_key_that_is_wrong_is_not_made_good_by_a_session(
    server: lume_local.Server, browser: aiohttp.ClientSession
) -> None:
    own = await sign_in(browser, token_of(server))
    assert own is not None
    assert await status(browser, "GET", "/v1/runs", headers=own | {"lume-api-key": "wrong"}) == 401


async def test_the_page_has_all_that_it_loads(browser: aiohttp.ClientSession) -> None:
    seen, left = set(), {"/"}
    while left:
        path = left.pop()
        seen.add(path)
        async with browser.get(path) as response:
            assert response.status == 200, path
            policy = response.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            text = await response.text()
        loaded = re.findall(r'(?:href|src)="(/[^"]*)"', text) if path == "/" else []
        loaded += [urljoin(path, name) for name in re.findall(r'from "(\.{1,2}/[\w./]+)"', text)]
        # The names of XML's namespaces are not loaded.
        names = r"(?!www\.w3\.org/|schemas\.openxmlformats\.org/)"
        elsewhere = re.findall(rf"(?:https?:)?//{names}\w[\w-]*\.\w\S*", text)
        assert elsewhere == [], "nothing comes from elsewhere"
        left |= set(loaded) - seen
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert seen - {"/"} == {f"/console/files/{name}" for name in files} - {"/console/files/index.html"}


async def test_nothing_else_is_served(browser: aiohttp.ClientSession) -> None:
    for name in ("other.js", "..%2Fopenapi.yaml", "%2Fetc%2Fpasswd", ".", "%2e%2e"):
        assert await status(browser, "GET", f"/console/files/{name}") in (401, 404), name


def test_no_text_becomes_markup() -> None:
    for path in FOLDER.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", path.read_text())
        assert len(path.read_text().splitlines()) < 400, path


async def test_who_needs_no_key_sends_4_kB_at_most(browser: aiohttp.ClientSession) -> None:
    for is_chunked in (True, False):
        for method, path in (("POST", "/console/session"), ("GET", "/healthz"), ("GET", "/")):
            for size, is_refused in ((4_096, False), (4_097, True), (900_000, True)):
                body = b"{" + b" " * (size - 2) + b"}"
                options = {
                    "data": pieces(body) if is_chunked else body,
                    "headers": {"Content-Type": "application/json"},
                }
                async with browser.request(method, path, **options) as response:  # type: ignore[arg-type]
                    assert (response.status == 413) is is_refused, (method, path, is_chunked)
                    document = await response.json(content_type=None) if is_refused else None
                    assert document is None or document["type"] == "urn:lume:problem:too-large"


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]
