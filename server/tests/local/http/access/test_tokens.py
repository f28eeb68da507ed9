"""Bearer tokens: those of a real issuer, and all that makes a token worthless."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from components import package
from local.oidc import AUDIENCE, Issuer, entry, fake_issuer, issuer
from local.receiver import unused_port
from local.wire import Wire

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._http.access import tokens
from lume_local._http.access.keys import Grant, Holder, Role, read_keys

jwk, jwt = package("joserfc.jwk"), package("joserfc.jwt")
NOW = 1_800_000_000
FLOW = "/v1/flows/people/versions/v2"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def serving(home: Path, *entries: str) -> AsyncIterator[Wire]:
    """A server with these entries, and a client without a key."""
    (home / "keys.toml").write_text("".join(entries))
    folders = home / "flows", home / ".lume", [home]
    async with lume_local.serve(*folders, keys=home / "keys.toml", max_active=1) as server:
        wire = Wire(server.base_url, server.api_key)
        del wire.session.headers["lume-api-key"]
        async with wire.session:
            yield wire


# -- a real issuer


async def token_of(issuer: str, client: str, audience: str = AUDIENCE) -> str:
    """The access token of a client, as its programs get it."""
    form = {"grant_type": "client_credentials", "resource": audience, "scope": "lume:read"}
    basic = base64.b64encode(f"{client}:secret-of-a-robot".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{issuer}/token", data=form) as response,
    ):
        document = await response.json()
        assert response.status == 200, document
        return str(document["access_token"])


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "alg"), [("RSA", "RS256"), ("EC", "ES256"), ("OKP", "Ed25519")])
async def test_tokens_of_a_real_issuer(home: Path, kind: str, alg: str) -> None:
    port = unused_port()
    made = {"RSA": 2048, "EC": "P-256", "OKP": "Ed25519"}
    first, second = (
        jwk.JWKRegistry.generate_key(kind, made[kind], {"alg": alg, "kid": name}) for name in ("one", "two")
    )
    entries = (
        entry("readers", "read", f"http://127.0.0.1:{port}"),
        entry("submitters", "submit", f"http://127.0.0.1:{port}", "realm_access.roles"),
    )
    body = {"flow_version": "people:v1", "source_path": "people.csv"}
    async with serving(home, *entries) as wire:
        with issuer(home, port, first) as url:
            reader, submitter, stranger = [
                bearer(await token_of(url, name)) for name in ("readers", "submitters", "strangers")
            ]
            elsewhere = bearer(await token_of(url, "readers", "urn:other"))
            assert (await wire.ask("GET", "/v1/runs", headers=reader)).status == 200
            refused = await wire.ask("POST", "/v1/runs", json=body, headers=reader)
            assert (refused.status, "'readers:readers' has the role read" in refused.document["detail"]) == (
                403,
                True,
            )
            assert (await wire.ask("POST", "/v1/runs", json=body, headers=submitter)).status == 201
            nothing = await wire.ask("GET", "/v1/runs", headers=stranger)
            assert (nothing.status, "none of its claims gives it a role" in nothing.document["detail"]) == (
                401,
                True,
            )
            wrong = await wire.ask("GET", "/v1/runs", headers=elsewhere)
            assert (wrong.status, "the token is not accepted" in wrong.document["detail"]) == (401, True)
        # The issuer is away, and its key is known; then it is back with another one.
        assert (await wire.ask("GET", "/v1/runs", headers=reader)).status == 200
        with issuer(home, port, second) as url, pytest.MonkeyPatch.context() as patch:
            patch.setattr(tokens, "_BETWEEN", 0.0)
            renewed = bearer(await token_of(url, "readers"))
            assert (await wire.ask("GET", "/v1/runs", headers=renewed)).status == 200
            assert (await wire.ask("GET", "/v1/runs", headers=reader)).status == 401, "its key is withdrawn"
            link = await console_link(wire, renewed)
            assert (await wire.ask("GET", "/v1/runs", headers=link)).status == 200
            assert (await wire.ask("POST", "/v1/runs", json=body, headers=link)).status == 403
            (home / "keys.toml").write_text(entries[1])
            assert (await wire.ask("GET", "/v1/runs", headers=link)).status == 401
            assert (await wire.ask("GET", "/v1/runs", headers=renewed)).status == 401


async def console_link(wire: Wire, headers: dict[str, str]) -> dict[str, str]:
    """A session of the console that a token began."""
    async with wire.session.post("/console/links", headers=headers) as response:
        assert response.status == 201
        token = (await response.json())["token"]
    async with wire.session.post("/console/session", json={"token": token}) as response:
        return {"lume-console-session": (await response.json())["session"]}


# -- tokens that are worth nothing


@asynccontextmanager
async def checking(clock: Callable[[], float] = lambda: NOW) -> AsyncIterator[tokens.Tokens]:
    checked = tokens.Tokens(clock)
    async with checked.running():
        yield checked


RSA = jwk.RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256"})
OTHER = jwk.RSAKey.generate_key(2048, {"kid": "one"})
EC = jwk.ECKey.generate_key("P-256", {"kid": "two"})


@pytest.fixture
async def fake() -> AsyncIterator[Issuer]:
    async with fake_issuer(RSA, EC) as made:
        yield made


def grants(url: str) -> list[Grant]:
    reader, writer = Holder("readers", Role.READ), Holder("writers", Role.SUBMIT)
    return [Grant(reader, url, AUDIENCE, "groups", "a"), Grant(writer, url, AUDIENCE, "groups", "b")]


def signed(url: str, key: Any = RSA, alg: str = "RS256", kid: str | None = "one", **changes: Any) -> str:
    claims = {"iss": url, "aud": AUDIENCE, "exp": NOW + 60, "sub": "ann", "groups": ["a"]} | changes
    header = {"alg": alg} | ({} if kid is None else {"kid": kid})
    claims = {name: value for name, value in claims.items() if value is not None}
    return str(jwt.encode(header, claims, key, algorithms=[alg]))


def raw(*parts: object, signature: str = "") -> str:
    """A token that no library would make."""
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*texts, signature])


@pytest.mark.parametrize(
    ("changes", "name", "role"),
    [
        ({}, "readers:ann", Role.READ),
        ({"groups": ["a", "b"]}, "writers:ann", Role.SUBMIT),
        ({"groups": "x a"}, "readers:ann", Role.READ),
        ({"aud": ["other", AUDIENCE]}, "readers:ann", Role.READ),
        ({"exp": NOW - 59}, "readers:ann", Role.READ),
        ({"nbf": NOW + 59}, "readers:ann", Role.READ),
        ({"sub": "a\nb"}, "readers:a?b~" + hashlib.sha256(b"a\nb").hexdigest()[:32], Role.READ),
        ({"sub": "Ann\u00a0Lee"}, "readers:Ann\u00a0Lee", Role.READ),
        ({"sub": None}, "readers", Role.READ),
        ({"key": EC, "alg": "ES256", "kid": "two"}, "readers:ann", Role.READ),
    ],
)
async def test_tokens_that_are_accepted(fake: Issuer, changes: dict[str, Any], name: str, role: Role) -> None:
    async with checking() as checked:
        holder = await checked.holder(signed(fake.url, **changes), grants(fake.url))
    assert (holder.name, holder.role) == (name, role)


def _hmac(url: str) -> str:
    """Signed with the public key as if it were a secret."""
    head, claims = raw(
        {"alg": "HS256", "kid": "one"}, {"iss": url, "aud": AUDIENCE, "exp": NOW + 60, "groups": ["a"]}
    ).split(".")[:2]
    digest = hmac.digest(RSA.as_pem(private=False), f"{head}.{claims}".encode(), "sha256")
    return f"{head}.{claims}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


ODD: list[dict[str, Any]] = [
    {"key": OTHER},
    {"exp": NOW - 61},
    {"exp": None},
    {"exp": "soon"},
    {"nbf": NOW + 61},
    {"aud": "urn:other"},
    {"aud": ["urn:other"]},
    {"aud": None},
    {"aud": 7},
    {"iss": "http://127.0.0.1:1"},
    {"iss": None},
    {"iss": ["x"]},
    {"kid": "unknown"},
    {"kid": None},
]


@pytest.mark.parametrize(
    "token",
    [
        *(lambda url, more=more: signed(url, **more) for more in ODD),
        _hmac,
        lambda url: raw({"alg": "none"}, {"iss": url, "aud": AUDIENCE, "exp": NOW + 60, "groups": ["a"]}),
        lambda url: raw({"alg": "RS256", "kid": ["one"]}, {"iss": url}, signature="AAAA"),
        lambda url: raw({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, {"iss": url}, signature="AAAA"),
        lambda url: raw({"alg": 7}, {"iss": url}, signature="AAAA"),
        lambda url: raw([], {"iss": url}, signature="AAAA"),
        lambda url: signed(url)[:-3] + "AAA",
        lambda url: signed(url).replace(".", ".A", 1),
        lambda url: "..",
        lambda url: "é.é.é",
        lambda url: "a.b.c",
    ],
)  # fmt: skip
async def test_tokens_that_are_refused(fake: Issuer, token: Callable[[str], str]) -> None:
    async with checking() as checked:
        with pytest.raises(tokens.Problem) as caught:
            await checked.holder(token(fake.url), grants(fake.url))
    assert caught.value.status == 401
    assert caught.value.document["detail"].startswith("the token is not accepted: ")


@pytest.mark.parametrize("subject", ["", " ", "\u00a0", 7, ["ann"], False])
async def test_a_token_whose_subject_is_no_name_is_refused(fake: Issuer, subject: Any) -> None:
    async with checking() as checked:
        with pytest.raises(tokens.Problem, match="unauthorized") as caught:
            await checked.holder(signed(fake.url, sub=subject), grants(fake.url))
    assert "sub" in caught.value.document["detail"]


async def test_people_with_long_subjects_are_told_apart(fake: Issuer) -> None:
    long = "auth0|" + "x" * 90
    subjects = [long + "1", long + "2", long[:64], long[:65], "a\nb", "a?b", "a\tb", "Ann Lee"]
    async with checking() as checked:
        names = [
            (await checked.holder(signed(fake.url, sub=subject), grants(fake.url))).name
            for subject in subjects
        ]
        assert len(set(names)) == len(names)
        # Nobody can choose the subject that another one's name is made of.
        others = [
            (await checked.holder(signed(fake.url, sub=name.partition(":")[2]), grants(fake.url))).name
            for name in names
        ]
    assert names[0].startswith("readers:auth0|xxxx")
    assert names[-1] == "readers:Ann Lee"
    assert all(len(name) <= len("readers:") + 81 for name in names)
    assert {one for one in others if one in names} == {names[2], names[5], names[7]}


@pytest.mark.parametrize("groups", [[], ["c"], "c", None, 7, {"a": 1}, [["a"]]])
async def test_a_token_without_the_claim_has_no_role(fake: Issuer, groups: Any) -> None:
    async with checking() as checked:
        with pytest.raises(tokens.Problem, match="unauthorized"):
            await checked.holder(signed(fake.url, groups=groups), grants(fake.url))


@pytest.mark.parametrize(
    ("claim", "claims", "allowed"),
    [
        ("a.b", {"a": {"b": ["v"]}}, True),
        ("a.b", {"a.b": "v"}, True),
        ("a.b", {"a": ["v"]}, False),
        ("a.b", {"a": {"c": ["v"]}}, False),
        ("https://example.org/roles", {"https://example.org/roles": ["v"]}, True),
        ("scope", {"scope": "openid v"}, True),
        ("scope", {"scope": "openid vv"}, False),
        ("scope", {}, False),
        (None, {}, True),
    ],
)
def test_where_a_claim_is(claim: str | None, claims: dict[str, Any], allowed: bool) -> None:
    assert Grant(Holder("x", Role.READ), "i", "a", claim, "v").allows(claims) is allowed


# -- issuers that are away, or lie


async def test_the_keys_are_fetched_rarely(fake: Issuer) -> None:
    now = NOW
    async with checking(lambda: now) as checked:
        for _ in range(20):
            await checked.holder(signed(fake.url, exp=NOW + 99999), grants(fake.url))
            with pytest.raises(tokens.Problem):
                await checked.holder(signed(fake.url, kid="unknown"), grants(fake.url))
        assert fake.requests == 2
        now += 31
        with pytest.raises(tokens.Problem):
            await checked.holder(signed(fake.url, kid="unknown", exp=NOW + 99999), grants(fake.url))
        assert fake.requests == 4
        now += 3601
        await asyncio.gather(
            *(checked.holder(signed(fake.url, exp=NOW + 99999), grants(fake.url)) for _ in range(20))
        )
        async with asyncio.timeout(10):
            while fake.requests < 6:
                await asyncio.sleep(0.001)
        await checked.holder(signed(fake.url, exp=NOW + 99999), grants(fake.url))
    assert fake.requests == 6


async def test_an_issuer_that_is_away_for_long_is_not_believed_any_more(fake: Issuer) -> None:
    now = NOW
    async with checking(lambda: now) as checked:
        token = signed(fake.url, exp=NOW + 99999)
        await checked.holder(token, grants(fake.url))
        fake.answer = lambda: web.Response(status=503)
        now += 3601
        await checked.holder(token, grants(fake.url))
        now += 3601
        with pytest.raises(tokens.Problem, match="unavailable") as caught:
            await checked.holder(token, grants(fake.url))
        assert "answers with status 503" in caught.value.document["detail"]
        fake.answer = None
        now += 31
        await checked.holder(token, grants(fake.url))


async def test_what_an_issuer_publishes_may_arrive_in_any_parts(fake: Issuer) -> None:
    fake.in_parts = True
    async with checking() as checked:
        assert (await checked.holder(signed(fake.url), grants(fake.url))).name == "readers:ann"


async def test_an_issuer_that_hangs_holds_up_nobody_whose_key_is_known(
    fake: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_MOMENT", 0.2)
    now = NOW
    async with checking(lambda: now) as checked:
        token = signed(fake.url, exp=NOW + 99999)
        await checked.holder(token, grants(fake.url))
        fake.held, now = asyncio.Event(), NOW + 3601
        async with asyncio.timeout(5):
            unknown = [
                checked.holder(signed(fake.url, kid="new", exp=NOW + 99999), grants(fake.url))
                for _ in range(20)
            ]
            waiting = asyncio.gather(*unknown, return_exceptions=True)
            began = time.perf_counter()
            for _ in range(20):
                assert (await checked.holder(token, grants(fake.url))).name == "readers:ann"
            assert not waiting.done(), "those with a known key have not waited"
            refused = await waiting
        assert time.perf_counter() - began < 3
        assert [one.status for one in refused if isinstance(one, tokens.Problem)] == [503] * 20
        assert fake.requests == 3, "one request of all"
        # The issuer answers at last, and has the key.
        fake.keys.append(jwk.RSAKey.generate_key(2048, {"kid": "new", "alg": "RS256"}))
        renewed = signed(fake.url, key=fake.keys[-1], kid="new", exp=NOW + 99999)
        joined = asyncio.ensure_future(checked.holder(renewed, grants(fake.url)))
        await asyncio.sleep(0)
        fake.held.set()
        fake.held = None
        assert (await joined).name == "readers:ann"
        assert fake.requests == 4


async def test_an_issuer_that_was_never_there_is_asked_less_and_less(fake: Issuer) -> None:
    now, asked = float(NOW), []
    fake.answer = lambda: web.Response(status=503)
    token = signed(fake.url, exp=NOW + 999)
    async with checking(lambda: now) as checked:
        while now < NOW + 200:
            requests = fake.requests
            for _ in range(3):
                with pytest.raises(tokens.Problem, match="unavailable") as caught:
                    await checked.holder(token, grants(fake.url))
                assert "answers with status 503" in caught.value.document["detail"]
            asked += [now - NOW] * ((fake.requests - requests) // 2)
            now += 1
        assert asked[:5] == [0, 1, 3, 7, 15]
        assert {later - earlier for earlier, later in pairwise(asked[6:])} == {30}
        fake.answer = None
        now += 30
        assert (await checked.holder(token, grants(fake.url))).name == "readers:ann"


async def test_who_gives_up_waiting_does_not_end_the_request_of_others(fake: Issuer) -> None:
    fake.held = asyncio.Event()
    async with checking() as checked:
        first, second = (
            asyncio.ensure_future(checked.holder(signed(fake.url), grants(fake.url))) for _ in range(2)
        )
        async with asyncio.timeout(5):
            while not fake.requests:
                await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.wait([first])
        fake.held.set()
        assert (await second).name == "readers:ann"
    assert fake.requests == 2


@pytest.mark.parametrize(
    "keys",
    [
        [{"kty": "RSA", "n": 5, "e": [], "kid": "one"}],
        [{"kty": "EC", "crv": {}, "x": None, "kid": "one"}],
        [{"kty": "OKP", "crv": "Ed25519", "x": "\ud800", "kid": ["one"]}],
        {"kty": "RSA"},
        None,
    ],
)
async def test_keys_that_no_library_reads_end_no_server(fake: Issuer, keys: Any) -> None:
    fake.answer = lambda: web.json_response({"keys": keys})
    now = NOW
    async with checking(lambda: now) as checked:
        with pytest.raises(tokens.Problem):
            await checked.holder(signed(fake.url), grants(fake.url))
        fake.answer, now = None, NOW + 31
        assert (await checked.holder(signed(fake.url), grants(fake.url))).name == "readers:ann"


@pytest.mark.parametrize(
    ("about", "answer", "words"),
    [
        ({"issuer": "http://127.0.0.1:1"}, None, "it says that it is 'http://127.0.0.1:1'"),
        ({"jwks_uri": "http://keys.example/jwks"}, None, "http://keys.example/jwks is not https"),
        ({"jwks_uri": 7}, None, "is not https"),
        ({}, lambda: web.Response(status=302, headers={"Location": "/"}), "answers with status 302"),
        ({}, lambda: web.Response(body=b"x" * 2_000_000), "more than 1,048,576 bytes"),
        ({}, lambda: web.Response(body=b"{"), "unexpected end"),
        ({}, lambda: web.json_response([]), "no JSON object"),
        ({}, lambda: web.json_response({"keys": []}), "of no use"),
        (
            {},
            lambda: web.json_response({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}),
            "of no use",
        ),
        ({}, lambda: web.json_response({"keys": ["x"]}), ""),
        ({}, lambda: web.json_response({}), "keys"),
    ],
)
async def test_an_issuer_whose_keys_are_of_no_use(
    fake: Issuer, about: dict[str, Any], answer: Callable[[], web.StreamResponse] | None, words: str
) -> None:
    fake.about, fake.answer = about, answer
    async with checking() as checked:
        with pytest.raises(tokens.Problem, match="unavailable") as caught:
            await checked.holder(signed(fake.url), grants(fake.url))
    assert words in caught.value.document["detail"]


async def test_a_key_is_used_where_both_are_sent(home: Path, fake: Issuer) -> None:
    """A proxy may add a header `Authorization` of its own."""
    async with serving(home, entry("readers", "read", fake.url)) as wire:
        wrong = {
            "lume-api-key": "wrong",
            **bearer(signed(fake.url, exp=int(time.time()) + 60, groups=["readers"])),
        }
        assert (await wire.ask("GET", "/v1/runs", headers=wrong)).status == 401


async def test_the_tokens_of_an_entry_share_what_it_may_submit(home: Path, fake: Issuer) -> None:
    async with serving(
        home, entry("staff", "submit", fake.url, None), "submissions_per_minute = 2\n"
    ) as wire:
        statuses = []
        for name in ("ann", "bob", "eve"):
            headers = bearer(signed(fake.url, sub=name, exp=int(time.time()) + 60))
            body = {"flow_version": "people:v1", "source_path": "people.csv", "force_rerun": True}
            statuses.append((await wire.ask("POST", "/v1/runs", json=body, headers=headers)).status)
    assert (statuses[0], statuses[2]) == (201, 429)


async def test_people_of_one_entry_are_told_apart_in_their_sessions(home: Path, fake: Issuer) -> None:
    """Each has drafts of their own, and what they do has their name."""
    async with serving(home, entry("staff", "submit", fake.url, None)) as wire:
        sessions = dict[str, dict[str, str]]()
        for name in ("ann", "bob"):
            first = await console_link(wire, bearer(signed(fake.url, sub=name, exp=int(time.time()) + 60)))
            sessions[name] = await console_link(wire, first)  # as a page opens another one
            async with wire.session.get("/console/session", headers=first) as response:
                assert await response.json() == {"name": f"staff:{name}", "role": "submit"}
        body = {"flow_version": "people:v1", "source_path": "people.csv"}
        run = await wire.ask("POST", "/v1/runs", json=body, headers=sessions["ann"])
        assert (run.status, run.document["submitted_by"]) == (201, "staff:ann")
        cells = {"rows": [{"run": run.document["id"], "row": 1, "rev": 0, "cells": {"Email": "a@b.org"}}]}
        saved = await wire.ask("PATCH", "/v1/drafts/people", json=cells, headers=sessions["ann"])
        assert saved.status == 200, saved.document
        revs = [
            (await wire.ask("GET", "/v1/drafts/people", headers=sessions[name])).document["rev"]
            for name in ("ann", "bob")
        ]
        assert revs == [1, 0]


# -- the file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('role = "read"\nissuer = "https://i"', "staff.audience: is missing"),
        (
            'role = "read"\nissuer = "https://i"\naudience = "a"\nclaim = "c"',
            "claim or value, which belong together",
        ),
        (
            'role = "read"\nissuer = "https://i"\naudience = "a"\nsha256 = "x"',
            "staff.sha256: is not a known key",
        ),
        ('role = "read"\nissuer = "https://i"\naudience = ""', "staff.audience: is empty"),
        ('role = "read"\nissuer = ["https://i"]\naudience = "a"', "staff.issuer: must be a string"),
        (
            'role = "read"\nissuer = "http://i.example"\naudience = "a"',
            "staff.issuer: must be an https:// URL",
        ),
        (
            'role = "owner"\nissuer = "https://i.example"\naudience = "a"',
            "staff.role: 'owner' is not one of read, submit, admin",
        ),
    ],
)
def test_entries_with_mistakes(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "keys.toml").write_text(f"[staff]\n{text}\n")
    with pytest.raises(ConfigurationError, match=words):
        read_keys(tmp_path / "keys.toml")


@pytest.mark.parametrize("name", ["staff:ann", "staff:"])
def test_no_entry_has_the_name_of_somebody_with_a_token(tmp_path: Path, name: str) -> None:
    key = f'["{name}"]\nrole = "read"\nsha256 = "{"0" * 64}"\n'
    (tmp_path / "keys.toml").write_text(key + entry("staff", "read", "https://i.example"))
    with pytest.raises(ConfigurationError, match=r"may be the name of somebody with a token of \[staff\]"):
        read_keys(tmp_path / "keys.toml")
    (tmp_path / "keys.toml").write_text(key + entry("staffing", "read", "https://i.example"))
    read_keys(tmp_path / "keys.toml")


def test_what_an_entry_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys.toml").write_text(entry("staff", "read", "https://i.example"))
    monkeypatch.setattr("lume_async._base.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"\[staff\] \(issuer\) needs joserfc: .*oidc"):
        read_keys(tmp_path / "keys.toml")
