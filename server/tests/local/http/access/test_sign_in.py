"""Signing in at an issuer: a flood of wrong codes reaches it as a trickle, and takes nobody else's share."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from components import package
from local.oidc import Issuer, entry, fake_issuer
from local.receiver import unused_port
from local.wire import Wire
from multidict import CIMultiDict

import lume_local
from lume_local._http.access.keys import ApiKeys
from lume_local._http.access.sign_in import OF_ALL, OF_CLIENT, OF_PEER, SignIn
from lume_local._http.access.tokens import Tokens
from lume_local._http.exchange import Ask, Problem

KEY = package("joserfc.jwk").ECKey.generate_key("P-256", {"kid": "one", "alg": "ES256"})
CLIENT = 'client_id = "lume-console"'
NONCE = "n" * 43
HOST = {"Host": "lume.example"}


@pytest.fixture
async def fake() -> AsyncIterator[Issuer]:
    async with fake_issuer(KEY) as made:

        def exchange(form: dict[str, str]) -> web.StreamResponse:
            if not form["code"].startswith("right"):
                return web.json_response({"error": "invalid_grant"}, status=400)
            claims = {"iss": made.url, "aud": "lume-console", "exp": int(time.time()) + 60, "nonce": NONCE}
            claims |= {"sub": form["code"].partition(" ")[2]}
            token = package("joserfc.jwt").encode({"alg": "ES256", "kid": "one"}, claims, KEY)
            return web.json_response({"id_token": token})

        made.exchange = exchange
        yield made


@pytest.fixture
async def at(fake: Issuer, tmp_path: Path) -> AsyncIterator[SignIn]:
    (tmp_path / "keys.toml").write_text(entry("staff", "read", fake.url, None, None, CLIENT))
    tokens, over = Tokens(), asyncio.Event()

    async def running() -> None:
        async with tokens.running():
            await over.wait()

    task = asyncio.create_task(running())
    await asyncio.sleep(0)
    # While the clock stands, no share is refilled, however slow the machine.
    yield SignIn(tokens, ApiKeys("own key", tmp_path / "keys.toml"), clock=lambda: 0.0)
    over.set()
    await task


def fields(at: Issuer, code: str = "wrong", /, **changes: Any) -> dict[str, Any]:
    made = {"issuer": at.url, "code": code, "verifier": "v" * 43, "nonce": NONCE}
    return made | {"redirect_uri": "https://lume.example/"} | changes


async def tried(at: SignIn, sent: dict[str, Any], peer: str = "192.0.2.1", behind: str = "") -> str | Problem:
    """The name of who signed in, or what was said instead."""
    ask = Ask({}, [], b"", CIMultiDict(HOST, **{"X-Forwarded-For": behind}), peer=peer)
    try:
        return (await at.holder(sent, ask)).name
    except Problem as problem:
        return problem


async def flood(at: SignIn, issuer: Issuer, *senders: tuple[str, str]) -> list[int]:
    """Wrong codes of these, all at once; the statuses of the answers."""
    answers = await asyncio.gather(*(tried(at, fields(issuer), *sender) for sender in senders))
    return [one.status for one in answers if isinstance(one, Problem)]


async def test_a_flood_of_one_client_is_its_own_affair(fake: Issuer, at: SignIn) -> None:
    proxy = "192.0.2.1"
    statuses = await flood(at, fake, *[(proxy, "198.51.100.7")] * 200)
    assert (statuses.count(401), statuses.count(429)) == (OF_CLIENT, 200 - OF_CLIENT)
    assert len(fake.forms) == OF_CLIENT
    refused = await tried(at, fields(fake, "right ann"), proxy, "198.51.100.7")
    assert isinstance(refused, Problem)
    assert refused.retry_after == 6
    for other in ("198.51.100.8", "2001:db8::1"):
        assert await tried(at, fields(fake, "right ann"), proxy, other) == "staff:ann"


@pytest.mark.parametrize(
    "names",
    [[f"10.0.0.{n}" for n in range(250)], [f"no address {n}" for n in range(250)]],
    ids=["addresses", "none"],
)
async def test_who_invents_addresses_uses_up_the_share_of_its_own(
    fake: Issuer, at: SignIn, names: list[str]
) -> None:
    statuses = await flood(at, fake, *[("203.0.113.5", name) for name in names])
    assert statuses.count(401) == len(fake.forms) <= OF_PEER
    assert await tried(at, fields(fake, "right ann"), "192.0.2.1") == "staff:ann"


async def test_all_addresses_of_a_network_are_one_client(fake: Issuer, at: SignIn) -> None:
    statuses = await flood(at, fake, *[(f"2001:db8::{n:x}", "") for n in range(200)])
    assert statuses.count(401) == OF_CLIENT
    assert await tried(at, fields(fake, "right ann"), "2001:db8:0:1::1") == "staff:ann"


async def test_however_many_send_them_few_codes_reach_the_issuer(fake: Issuer, at: SignIn) -> None:
    statuses = await flood(at, fake, *[(f"10.0.{n // 250}.{n % 250}", "") for n in range(300)])
    assert statuses.count(401) == len(fake.forms) == OF_ALL


async def test_what_no_page_sends_counts_for_nobody_and_reaches_no_issuer(fake: Issuer, at: SignIn) -> None:
    for changes in (
        {"code": "a\nb"},
        {"code": "\u00e9"},
        {"verifier": "v" * 42},
        {"verifier": "v" * 129},
        {"verifier": "v" * 42 + " "},
        {"verifier": "v" * 43 + "\n"},
        {"nonce": "n n"},
        {"nonce": "n" * 42 + "\u2028"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "https://lume.example/?a"},
        {"redirect_uri": "javascript://lume.example/"},
        {"redirect_uri": "http://["},
        {"issuer": "https://evil.example"},
    ):
        before = fake.requests
        for _ in range(2 * OF_CLIENT):
            refused = await tried(at, fields(fake, **changes))
            assert isinstance(refused, Problem), changes
            assert refused.status == (401 if "issuer" in changes else 422)
        assert fake.requests == before
        assert await tried(at, fields(fake, "right ann")) == "staff:ann"


async def test_who_signs_in_uses_up_nothing(fake: Issuer, at: SignIn) -> None:
    for n in range(3 * OF_CLIENT):
        assert await tried(at, fields(fake, f"right p{n}")) == f"staff:p{n}"


async def test_an_issuer_that_is_away_is_not_the_fault_of_who_signs_in(fake: Issuer, at: SignIn) -> None:
    fake.answer = lambda: web.Response(status=503)
    for _ in range(2 * OF_CLIENT):
        refused = await tried(at, fields(fake, "right ann"))
        assert isinstance(refused, Problem)
        assert refused.status == 503
    assert fake.requests == 2


async def test_a_token_endpoint_that_fails_is_not_a_wrong_code(fake: Issuer, at: SignIn) -> None:
    fake.exchange = lambda form: web.Response(status=502)
    refused = await tried(at, fields(fake, "right ann"))
    assert isinstance(refused, Problem)
    assert (refused.status, "can't be asked about this sign-in" in refused.document["detail"]) == (503, True)


async def test_a_sign_in_without_a_subject_is_refused(fake: Issuer, at: SignIn) -> None:
    refused = await tried(at, fields(fake, "right"))
    assert isinstance(refused, Problem)
    assert (refused.status, "its subject (sub)" in refused.document["detail"]) == (401, True)


async def test_shares_come_back_in_a_minute(fake: Issuer, tmp_path: Path) -> None:
    now = 100.0
    (tmp_path / "keys.toml").write_text(entry("staff", "read", fake.url, None, None, CLIENT))
    tokens = Tokens()
    async with tokens.running():
        at = SignIn(tokens, ApiKeys("own key", tmp_path / "keys.toml"), clock=lambda: now)
        assert (await flood(at, fake, *[("192.0.2.1", "")] * 50)).count(401) == OF_CLIENT
        now += 60
        assert (await flood(at, fake, *[("192.0.2.1", "")] * 50)).count(401) == OF_CLIENT


async def test_the_page_learns_what_to_do(home: Path, fake: Issuer) -> None:
    """Over HTTP, by an issuer that is there and one that is not."""
    gone = f"http://127.0.0.1:{unused_port()}"
    (home / "keys.toml").write_text(
        entry("staff", "read", fake.url, None, None, CLIENT)
        + entry("others", "read", gone, None, None, CLIENT)
    )
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=home / "keys.toml") as server:
        wire = Wire(server.base_url, server.api_key)
        del wire.session.headers["lume-api-key"]
        page = {"redirect_uri": f"{server.base_url}/"}
        async with wire.session as http:
            async with http.get("/console/issuers") as there:
                assert [one["issuer"] for one in (await there.json())["items"]] == [fake.url]

            async def sent(code: str, *passed_on: str) -> tuple[int, str | None, dict[str, Any]]:
                body = fields(fake, code, **page)
                headers = [("X-Forwarded-For", one) for one in passed_on]
                async with http.post("/console/session", json=body, headers=headers) as answer:
                    return answer.status, answer.headers.get("Retry-After"), await answer.json()

            for _ in range(OF_CLIENT):
                assert (await sent("wrong", "203.0.113.5"))[0] == 401
            for lie in (["198.51.100.7, 203.0.113.5"], ["198.51.100.8", "203.0.113.5"]):
                assert (await sent("right ann", *lie))[0] == 429, "a proxy appends what it sees"
            status, wait, document = await sent("right ann", "203.0.113.5")
            assert (status, wait) == (429, "6")
            assert "too many sign-ins have failed: try again in 6 s" in document["detail"]
            status, _, document = await sent("right ann", "203.0.113.5, 198.51.100.7")
            assert status == 201
            session = {"lume-console-session": document["session"]}
            async with http.get("/console/session", headers=session) as known:
                assert await known.json() == {"name": "staff:ann", "role": "read"}
