"""The page that shows the contract: complete, without a key, without the internet."""

import re

import pytest
from local.wire import Wire

import lume_local
from lume_local._http import contract


async def get(server: lume_local.Server, path: str) -> tuple[int, str, bytes]:
    wire = Wire(server.base_url, "wrong")
    async with wire.session, wire.session.get(path) as response:
        return response.status, response.headers["Content-Type"], await response.read()


async def test_the_page_has_all_that_it_loads(server: lume_local.Server) -> None:
    status, content_type, page = await get(server, "/docs")
    assert (status, content_type) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:href|src|url)(?:="|: ")([^"]+)"', page.decode())
    assert len(loaded) == 4
    assert b"<script>" not in page  # the policy allows none
    for path in loaded:
        assert path.startswith("/"), "nothing comes from elsewhere"
        assert (await get(server, path))[0] == 200
    _, content_type, script = await get(server, "/docs/swagger-ui-bundle.js")
    assert content_type.startswith("text/javascript")
    assert len(script) > 1_000_000


async def test_the_page_allows_nothing_from_elsewhere(server: lume_local.Server) -> None:
    for path in ("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"):
        wire = Wire(server.base_url, "wrong")
        async with wire.session, wire.session.get(path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert response.headers["X-Content-Type-Options"] == "nosniff", path
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert (rules["default-src"], rules["script-src"], rules["frame-ancestors"]) == (
            "'none'",
            "'self'",
            "'none'",
        )


async def test_nothing_else_is_served(server: lume_local.Server) -> None:
    for name in ("other.js", "..%2Fflask_swagger_ui.py", "%2Fetc%2Fpasswd", "index.css"):
        assert (await get(server, f"/docs/{name}"))[0] == 404, name


async def test_without_the_viewer(server: lume_local.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "find_spec", lambda name: None)
    status, _, body = await get(server, "/docs")
    assert status == 404
    assert b"pip install 'lume-local[viewer]'" in body
