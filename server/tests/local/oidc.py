"""OpenID Connect issuers: a real one, and one that lies; and what a server's file of keys has for them."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from attrs import define, field
from components import ROOT, component

AUDIENCE = "urn:lume"


def entry(
    name: str, role: str, issuer: str, claim: str | None = "groups", value: str | None = None, *more: str
) -> str:
    """An entry of the file of keys."""
    lines = [f"[{name}]", f'role = "{role}"', f'issuer = "{issuer}"', f'audience = "{AUDIENCE}"']
    if claim is not None:
        lines += [f'claim = "{claim}"', f'value = "{value or name}"']
    return "\n".join([*lines, *more]) + "\n"


@contextmanager
def issuer(folder: Path, port: int, key: Any) -> Iterator[str]:
    """oidc-provider, as long as the block lasts."""
    modules = ROOT / ".components/oidc/node_modules"
    if not (modules / "oidc-provider").exists():
        pytest.skip("oidc-provider is not installed: ./scripts/components")
    jwks = json.dumps({"keys": [key.as_dict(private=True) | {"use": "sig"}]})
    program = [
        component("node"),
        str(Path(__file__).with_name("oidc_issuer.mjs")),
        str(modules),
        str(port),
        jwks,
    ]
    with (
        (folder / "issuer.txt").open("wb") as said,
        subprocess.Popen(program, stdout=subprocess.PIPE, stderr=said) as node,
    ):
        try:
            assert node.stdout is not None
            assert node.stdout.readline() == b"listening\n", (folder / "issuer.txt").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            node.kill()


@define
class Issuer:
    """An issuer that says what the test wants."""

    url: str = ""
    keys: list[Any] = field(factory=list)
    about: dict[str, Any] = field(factory=dict)
    requests: int = 0
    answer: Callable[[], web.StreamResponse] | None = None
    in_parts: bool = False
    """Whether its answers arrive in segments of 100 bytes."""
    held: asyncio.Event | None = None
    """What its answers wait for."""
    forms: list[dict[str, str]] = field(factory=list)
    """What its token endpoint was asked."""
    exchange: Callable[[dict[str, str]], web.StreamResponse] | None = None
    """Answers that; without it, every code is wrong."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        if self.held is not None:
            await self.held.wait()
        answer = await self._answer(request)
        if not self.in_parts:
            return answer
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        streamed = web.StreamResponse(headers={"Content-Type": "application/json"})
        await streamed.prepare(request)
        for at in range(0, len(answer.body), 100):
            await streamed.write(answer.body[at : at + 100])
            await asyncio.sleep(0.001)  # each is a segment of its own
        return streamed

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            form = dict(parse_qsl(await request.text()))
            self.forms.append(form)
            return self.exchange(form) if self.exchange else web.json_response({}, status=400)
        if request.path == "/jwks":
            if self.answer is not None:
                return self.answer()
            return web.json_response({"keys": [one.as_dict(private=False) for one in self.keys]})
        assert request.path == "/.well-known/openid-configuration"
        return web.json_response(self._described() | self.about)

    def _described(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint": f"{self.url}/token",
            "authorization_endpoint": f"{self.url}/authorize",
        }


@asynccontextmanager
async def fake_issuer(*keys: Any) -> AsyncIterator[Issuer]:
    """An issuer with these keys, as long as the block lasts."""
    made = Issuer(keys=list(keys))
    runner = web.ServerRunner(web.Server(made.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
