"""Keys with roles: what each may do, a file that changes while the server runs, and files with mistakes."""

import hashlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from local.flows import people
from local.wire import Wire

import lume_async as lume
import lume_local
from lume_local._http.access.keys import read_keys

FLOW = "/v1/flows/people/versions/v2"


def entry(name: str, role: str | None = None) -> str:
    """A key of that name, and how the file has it."""
    return f'[{name}]\nrole = "{role or name}"\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n'


@pytest.fixture
def keys(home: Path) -> Path:
    path = home / "keys.toml"
    path.write_text("".join(map(entry, ("read", "submit", "admin"))))
    return path


@pytest.fixture
async def server(home: Path, keys: Path) -> AsyncIterator[lume_local.Server]:
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=keys) as server:
        yield server


async def status(server: lume_local.Server, key: str, method: str, path: str, **options: object) -> int:
    wire = Wire(server.base_url, key)
    async with wire.session:
        answer = await wire.ask(method, path, **options)
        if answer.status == 403:
            assert answer.kind == "forbidden"
            assert f"{key!r} has the role {key}" in answer.document["detail"]
        return answer.status


@pytest.mark.parametrize(
    ("key", "reads", "submits", "registers"),
    [("read", 200, 403, 403), ("submit", 200, 201, 403), ("admin", 200, 201, 201), ("other", 401, 401, 401)],
)
async def test_what_each_role_may_do(
    server: lume_local.Server, key: str, reads: int, submits: int, registers: int
) -> None:
    assert await status(server, key, "GET", "/v1/runs") == reads
    assert await status(server, key, "GET", "/v1/flows/people/versions/v1") == reads
    body = {"flow_version": "people:v1", "source_path": "people.csv"}
    assert await status(server, key, "POST", "/v1/runs", json=body) == submits
    assert await status(server, key, "PUT", "/v1/uploads/a.csv", data=b"id\n") == submits
    assert await status(server, key, "PUT", FLOW, json=people(version="v2")) == registers
    async with lume.Client(server.api_key, base_url=server.base_url) as client:
        assert [run.source_path async for run in client.list_runs()] == ["people.csv"] * (submits == 201)


async def test_no_role_reads_the_keys_of_others(server: lume_local.Server) -> None:
    wire = Wire(server.base_url, "submit")
    async with wire.session:
        for place in (".lume/state/server.json", ".lume/state/runs.sqlite", "keys.toml"):
            body = {"flow_version": "people:v1", "source_path": place, "dry_run": True}
            answer = await wire.ask("POST", "/v1/runs", json=body)
            assert (answer.status, answer.kind) == (422, "source-not-allowed"), answer.document


async def test_the_client_says_what_is_missing(server: lume_local.Server) -> None:
    async with lume.Client("read", base_url=server.base_url) as client:
        with pytest.raises(lume.AuthenticationError, match="needs a key with the role submit") as caught:
            await client.run("people:v1", "people.csv")
    assert caught.value.status_code == 403


async def link(server: lume_local.Server, key: str) -> str:
    async with (
        aiohttp.ClientSession(server.base_url, headers={"lume-api-key": key}) as http,
        http.post("/console/links") as response,
    ):
        assert response.status == 201
        return str((await response.json())["token"])


async def test_a_session_of_the_console_may_do_what_the_key_may_that_made_its_link(
    server: lume_local.Server, keys: Path
) -> None:
    body = {"flow_version": "people:v1", "source_path": "people.csv"}
    for key, submits in (("read", 403), ("submit", 201)):
        token = await link(server, key)
        async with (
            aiohttp.ClientSession(server.base_url) as door,
            door.post("/console/session", json={"token": token}) as response,
        ):
            own = {"lume-console-session": (await response.json())["session"]}
        async with aiohttp.ClientSession(server.base_url, headers=own) as browser:

            async def status(
                method: str, path: str, browser: aiohttp.ClientSession = browser, **more: Any
            ) -> int:
                async with browser.request(method, path, **more) as response:
                    return response.status

            assert await status("GET", "/v1/runs") == 200
            assert await status("POST", "/v1/runs", json=body) == submits
            assert await status("POST", "/console/links") == 201
            keys.write_text("".join(entry(name) for name in ("read", "submit", "admin") if name != key))
            assert await status("GET", "/v1/runs") == 401, "the key was revoked"


async def test_keys_come_and_go_without_a_restart(
    server: lume_local.Server, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await status(server, "late", "GET", "/v1/runs") == 401
    keys.write_text(keys.read_text() + entry("late", "read"))
    assert await status(server, "late", "GET", "/v1/runs") == 200
    keys.write_text("[late")
    assert await status(server, "late", "GET", "/v1/runs") == 200
    assert await status(server, "late", "GET", "/v1/runs") == 200
    (said,) = [line for line in caplog.messages if "stay valid" in line]
    assert "is not TOML" in said
    keys.write_text(entry("read"))
    assert await status(server, "late", "GET", "/v1/runs") == 401
    assert await status(server, "read", "GET", "/v1/runs") == 200
    keys.unlink()
    assert await status(server, "read", "GET", "/v1/runs") == 401
    assert await status(server, server.api_key, "GET", "/v1/runs") == 200
    assert not [
        record for record in caplog.records if record.levelno >= logging.ERROR and "late" in str(record.args)
    ]


async def test_keys_that_could_not_be_read_are_read_once_they_can(
    server: lume_local.Server, keys: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreadable(path: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied")

    keys.write_text(entry("submit"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", unreadable)
        for _ in range(2):
            assert await status(server, "read", "GET", "/v1/runs") == 200
    assert len([line for line in caplog.messages if "Permission denied; the previous keys" in line]) == 1
    assert await status(server, "read", "GET", "/v1/runs") == 401
    assert await status(server, "submit", "GET", "/v1/runs") == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't be read: No such file"),
        ("[ci", "is not TOML"),
        (f"ci = {'[' * 5000}", "is not TOML: its values are nested too deeply"),
        (f"ci = {'1' * 5000}", "is not TOML: Exceeds the limit"),
        ("ci = 1", "ci: must be a table"),
        ('[ci]\nrole = "read"', "bad.toml:1: ci: must have role and sha256"),
        (entry("ci", "root"), "ci.role: 'root' is not one of read, submit, admin"),
        (
            '[ci]\nrole = "read"\nsha256 = "the key itself"',
            "bad.toml:3: ci.sha256: must be the SHA-256 of the key in hex",
        ),
        ('[a]\nrole = "x"\nsha256 = "x"\n[ci]\nrole = "read"', "bad.toml:4: ci: must have role and sha256"),
        *(
            (entry("ci", "read") + bound, f"ci.{bound.partition(' ')[0]}: must be a whole number")
            for bound in ("max_active = 0", "submissions_per_minute = true", 'max_active = "2"')
        ),
        (
            entry("ci", "read") + "max_activ = 1",
            "ci.max_activ: is not a known key; did you mean 'max_active'?",
        ),
        (entry("ci", "read") + entry("ci", "read").replace("[ci]", "[cd]"), "cd: has the same key as ci"),
        (entry("server", "read"), "bad.toml:1: server: is what the server's own key is called"),
    ],
)
def test_a_file_with_a_mistake(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(lume.ConfigurationError) as caught:
        read_keys(tmp_path / "bad.toml")
    assert words in str(caught.value)
    assert "the key itself" not in str(caught.value)
