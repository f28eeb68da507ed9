"""Where the state of a server is, and what is said if it can't be used."""

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import postgres_server
import pytest
from anyio.to_thread import run_sync
from components import component
from local import stores
from local.flows import slow_rows
from local.servers import process, serve
from local.stores import STATE_ENV
from local.wire import Wire

import lume_local
from lume_async import ConfigurationError
from lume_local._runs.postgres import lease, postgres_sql, postgres_state
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.sqlite import sqlite_sql, sqlite_store


@pytest.fixture
def url(
    home: Path, postgres: postgres_server.Server, state_in_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a state, which is in the environment."""
    (home / ".lume/state/runs.sqlite").unlink()
    with stores.database(postgres, state_in_postgresql) as url:
        monkeypatch.setenv(STATE_ENV, url)
        yield url


@pytest.mark.thorough
async def test_a_server_says_where_its_state_is(home: Path, url: str) -> None:
    async with serve(home, state_env=STATE_ENV) as wire:
        answer = await wire.ask("GET", "/v1/server")
        assert answer.document["state"] == {"kind": "postgresql", "form": VERSION}
        assert "backup_age_seconds" not in (await wire.ask("GET", "/healthz")).document
        assert (await wire.ask("GET", "/readyz")).status == 200
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
    assert not (home / ".lume/state/runs.sqlite").exists()
    async with serve(home, state_env=STATE_ENV) as wire:  # another one, with the same state
        (run,) = (await wire.ask("GET", "/v1/runs")).document["items"]
        assert run["status"] == "SUCCEEDED"


async def test_a_server_names_those_that_wait_for_its_state(home: Path, url: str) -> None:
    async def wait() -> None:
        async with lume_local.serve(home / "flows", home / ".lume", [home], state_env=STATE_ENV):
            raise AssertionError("two servers have the state")

    async with serve(home, state_env=STATE_ENV) as wire:

        async def servers(count: int) -> Any:
            found: list[Any] = []
            while len(found) != count:
                found = (await wire.ask("GET", "/v1/server")).document["servers"]
            return found

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            first, second = await servers(2)
            assert first | {"started_at": 0, "is_waiting": True} == second | {"started_at": 0}
            assert second["started_at"] > first["started_at"]
            tasks.cancel_scope.cancel()
        assert await servers(1) == [first]


async def test_no_worker_and_no_text_has_the_url(
    home: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "slow.csv").write_text(slow_rows())
    folders = home / "flows", home / ".lume", [home]
    async with lume_local.serve(*folders, state_env=STATE_ENV) as server, server.client() as client:
        run = await client.run("slow:v1", "slow.csv")
        while not server.workers():
            await run.refresh()
        for pid in server.workers().values():
            assert postgres_server.QUOTED.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        await run.cancel()
        assert postgres_server.QUOTED not in repr(server)
    assert postgres_server.QUOTED not in caplog.text
    assert postgres_server.PASSWORD not in caplog.text


async def test_another_program_that_locks_the_state_file_holds_up_writes_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "WATCH", 0.01)
    locked = "the state file: another program has locked its file"
    async with serve(home) as wire, asyncio.TaskGroup() as tasks:
        with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")
            waits = tasks.create_task(wire.submit("people:v1", "people.csv"))
            await wire.ask("GET", "/livez")
            assert (await wire.ask("GET", "/readyz")).status == 200, "a lock that passes"
            assert not waits.done()
            other.rollback()
            await wire.until((await waits).document["id"])
            monkeypatch.setattr(sqlite_sql, "PATIENCE", 0.1)
            other.execute("BEGIN IMMEDIATE")
            await until_ready(wire, is_ready=False)
            assert (await wire.ask("GET", "/healthz")).document["detail"] == locked, "nothing else writes"
            assert (await wire.submit("people:v1", "people.csv")).status == 503
            assert (await wire.ask("GET", "/v1/runs")).status == 200, "it can be read"
            other.rollback()
            await until_ready(wire, is_ready=True)


async def until_ready(wire: Wire, *, is_ready: bool) -> None:
    async with asyncio.timeout(20):
        while ((await wire.ask("GET", "/readyz")).status == 200) is not is_ready:
            await asyncio.sleep(0.01)


async def test_a_variable_that_is_not_set(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="state_env: the variable NOT_SET is not set"):
        async with serve(home, state_env="NOT_SET"):
            pass


async def test_a_folder_that_has_a_state_of_its_own(
    home: Path, postgres: postgres_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_ENV, postgres.url)
    with pytest.raises(
        ConfigurationError, match="has a state of its own, which LUME_STATE_URL would replace"
    ):
        async with serve(home, state_env=STATE_ENV):
            pass


async def test_a_server_whose_postgresql_is_away_lives_and_begins_once_it_is_there(
    home: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "RENEW", 0.01)
    is_there, attempts = anyio.Event(), 0

    async def connect(url: str) -> Any:
        nonlocal attempts
        attempts += 1
        parts = urlsplit(url)
        away = parts.netloc.rpartition(":")[0] + ":1"
        return await postgres_sql.connect(url if is_there.is_set() else parts._replace(netloc=away).geturl())

    monkeypatch.setattr(postgres_state, "connect", connect)
    port = postgres_server.free_port()

    async def look() -> None:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            with anyio.fail_after(20):
                while "trying again" not in caplog.text:
                    await anyio.sleep(0.01)
                for path, status in (("/livez", 200), ("/readyz", 503), ("/v1/runs", 503)):
                    async with session.get(path) as answer:
                        assert answer.status == status
                while attempts < 4:
                    await anyio.sleep(0.01)
        is_there.set()

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(30):
        tasks.create_task(look())
        async with serve(home, state_env=STATE_ENV, port=port) as wire:
            assert (await wire.ask("GET", "/readyz")).status == 200
            assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
    assert caplog.text.count("trying again") == 1
    assert "the state in PostgreSQL: works again" in caplog.text


@pytest.mark.parametrize("change", [{"netloc": "lume:wr0ng@{}"}, {"path": "/nowhere"}])
async def test_a_database_that_can_not_be_used(
    home: Path, url: str, change: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = urlsplit(url).netloc.rpartition("@")[2]
    changed = {name: value.format(place) for name, value in change.items()}
    monkeypatch.setenv(STATE_ENV, urlsplit(url)._replace(**changed).geturl())
    with pytest.raises(
        ConfigurationError, match="the state in the PostgreSQL of LUME_STATE_URL can't be used"
    ) as caught:
        async with serve(home, state_env=STATE_ENV):
            pass
    assert "wr0ng" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_data_folder_stays_with_its_state(
    home: Path, url: str, postgres: postgres_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a file or another database, every source would count as new."""
    async with serve(home, state_env=STATE_ENV) as wire:
        await wire.run("people:v1", "people.csv")
    shutil.rmtree(home / ".lume/out")  # which is not everybody's
    for _ in range(2):  # nor does the attempt leave a state behind
        with pytest.raises(
            ConfigurationError, match=r"runs of another state, in PostgreSQL .*: pass its state_env"
        ):
            async with serve(home):
                pass
    with stores.database(postgres) as other, monkeypatch.context() as patch:
        patch.setenv(STATE_ENV, other)
        with pytest.raises(ConfigurationError, match="runs of another state, in PostgreSQL"):
            async with serve(home, state_env=STATE_ENV):
                pass
    with pytest.raises(
        ConfigurationError, match=r"A state in PostgreSQL .* is backed up by pg_dump --schema=lume"
    ):
        lume_local.back_up(home / ".lume", home / "backup")
    async with serve(home, state_env=STATE_ENV) as wire:
        assert (await wire.submit("people:v1", "people.csv")).status == 409


@pytest.mark.thorough
async def test_a_server_that_takes_over_with_another_data_folder(
    home: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on, but can't tell whether runs of the other one have written."""
    (home / "slow.csv").write_text(slow_rows())
    async with process(home, state_env=STATE_ENV) as (server, wire):
        run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(run_id, "TRANSFORMING")
        server.kill()
        await server.wait()
    other = lume_local.serve(home / "flows", home / "elsewhere", [home], state_env=STATE_ENV)
    async with other as opened, opened.client() as client:
        run = await client.run_status(run_id)
        assert run.status == "CRASHED"
        assert "its folder is not in this data folder, so it may have written" in str(run.error_message)
        again = await client.run("people:v1", "people.csv")
        assert (await again.wait()).status == "SUCCEEDED"
    assert f"this state was used with another data folder than {home}/elsewhere" in caplog.text


async def test_a_restored_backup_does_not_become_a_state_in_postgresql(home: Path, url: str) -> None:
    async with lume_local.serve(home / "flows", home / "in-a-file", [home]):
        pass
    lume_local.back_up(home / "in-a-file", home / "backup")
    lume_local.restore(home / "backup", home / "restored")
    with pytest.raises(ConfigurationError, match="has a state of its own"):
        async with lume_local.serve(home / "flows", home / "restored", [home], state_env=STATE_ENV):
            pass


@pytest.mark.thorough
async def test_a_dump_and_a_copy_of_the_data_folder_are_a_backup(
    home: Path, url: str, postgres: postgres_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the guide says: into another database, and the folder at the same path."""
    (home / "slow.csv").write_text(slow_rows())
    async with serve(home, state_env=STATE_ENV) as wire:
        await wire.ask("PUT", "/v1/uploads/people.csv", data=(home / "people.csv").read_bytes())
        done = await wire.run("people:v1", "upload://people.csv")
        feed = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]
        slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(slow, "TRANSFORMING")
        waiting = (await wire.submit("people:v1", "people.csv")).document["id"]
        await called("pg_dump", "--format=custom", "--schema=lume", f"--file={home / 'state.dump'}", url)
        shutil.copytree(home / ".lume", home / "copy", symlinks=True)
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
    shutil.rmtree(home / ".lume")
    shutil.copytree(home / "copy", home / ".lume")
    with stores.database(postgres, "postgresql://x/template0") as new:
        await called("pg_restore", "--no-owner", f"--dbname={new}", str(home / "state.dump"))
        monkeypatch.setenv(STATE_ENV, new)
        async with serve(home, state_env=STATE_ENV) as wire:
            assert (await wire.until(waiting))["status"] == "SUCCEEDED"
            assert (await wire.get(slow)).document["status"] == "CRASHED"
            assert (await wire.submit("people:v1", "upload://people.csv")).document["run_id"] == done["id"]
            rows = (await wire.ask("GET", f"/v1/runs/{done['id']}/mapped")).document["items"]
            assert [row["id"] for row in rows] == [1, 2, 3]
            changes = (await wire.ask("GET", f"/v1/changes?after={feed}")).document["items"]
            assert {(one["id"], one["status"]) for one in changes} >= {
                (slow, "CRASHED"),
                (waiting, "SUCCEEDED"),
            }
            (home / "fresh.csv").write_text("id,Email,Age\n7,g@example.org,1\n")
            assert (await wire.run("people:v1", "fresh.csv"))["status"] == "SUCCEEDED"


async def called(name: str, *arguments: str) -> None:
    program = component(name)
    done = await run_sync(
        lambda: subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr
