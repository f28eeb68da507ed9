"""Rows that are replayed while client and server are killed: each is in its table once, and the ledger closes."""

import asyncio
import os
import random
import sqlite3
import sys
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cli.shell import environment
from local.loads.table_run import ENV, Database, sqlite
from local.servers import process
from local.wire import Wire

FLOW = """
flow = "{name}"
version = "{version}"
[columns.id]
type = "integer"
required = true
unique = true
[columns.mail]
{rule}
required = true
[target.mapped]
url_env = "WAREHOUSE_URL"
table = "{name}"
create = true
{how}
"""
HOW = {"appended": 'mode = "append"', "upserted": 'mode = "upsert"\nkey = ["id"]'}
ROWS = 8
"""Of each source; all but two are rejected at first."""
RUNS, KILLS = 20, 5


def write_flow(home: Path, name: str, version: str, rule: str) -> None:
    (home / "flows").mkdir(exist_ok=True)
    text = FLOW.format(name=name, version=version, rule=rule, how=HOW[name])
    (home / "flows" / f"{name}.{version}.toml").write_text(text)


def write_source(home: Path, name: str, number: int) -> None:
    """Rows with ids of their own, some of them long, and with their columns in one of two orders."""
    first = number * ROWS
    mails = ["a@example.org" if n < 2 else "nobody" * (1 + n % 2 * 9) for n in range(ROWS)]
    rows = [("id", "mail"), *((str(first + n), mail) for n, mail in enumerate(mails))]
    order = slice(None, None, -1 if number % 3 == 0 else 1)
    text = "".join(",".join(row[order]) + "\n" for row in rows)
    (home / f"{name}{number}.csv").write_text(text)


async def fill(wire: Wire, home: Path) -> None:
    for name in HOW:
        started = []
        for number in range(RUNS):
            write_source(home, name, number)
            started.append((await wire.submit(f"{name}:v1", f"{name}{number}.csv")).document["id"])
        for run_id in started:
            assert (await wire.until(run_id))["status"] == "PARTIAL_FAILED"


async def accounts(wire: Wire) -> dict[str, dict[str, Any]]:
    document = (await wire.ask("GET", "/v1/inbox")).document
    assert all(flow["account"]["closes"] for flow in document["flows"])
    return {flow["flow"]: flow for flow in document["flows"]}


async def replaying(wire: Wire, home: Path, name: str) -> asyncio.subprocess.Process:
    variables = environment(
        home, LUME_BASE_URL=str(wire.session._base_url), LUME_API_KEY=wire.session.headers["lume-api-key"]
    )
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lume_cli", "replay", name, "--wait", "--timeout", "60"),
        env=variables,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def requested(wire: Wire, name: str) -> None:
    """The same without a process of its own, for most of the kills."""
    try:
        answer = await wire.ask("POST", "/v1/replays", json={"flow": name})
        assert answer.status in (200, 201)
    except (aiohttp.ClientError, ConnectionError, AssertionError, KeyError):
        pass  # the server was killed in the middle of the answer


async def all_replayed(wire: Wire) -> None:
    """Replay until nothing is open. What an earlier replay has may still fail or be crashed, and be open again."""
    while flows := await accounts(wire):
        for name, flow in flows.items():
            answer = await wire.ask("POST", "/v1/replays", json={"flow": name})
            for run_id in [*flow["replays"], *(run["id"] for run in answer.document["runs"])]:
                await wire.until(run_id)


@pytest.mark.thorough
@pytest.mark.timeout(300)
async def test_each_row_is_accepted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite(tmp_path, monkeypatch) as database:
        await replayed_under_kills(tmp_path, database)


async def replayed_under_kills(tmp_path: Path, database: Database) -> None:
    dice = random.Random(RUNS)
    for name in HOW:
        write_flow(tmp_path, name, "v1", 'format = "email"')
    serve = partial(process, tmp_path, env={ENV: os.environ[ENV]}, max_active=2)
    async with serve() as (_, wire):
        await fill(wire, tmp_path)
        found = await accounts(wire)
        assert {name: flow["open"] for name, flow in found.items()} == dict.fromkeys(HOW, RUNS * (ROWS - 2))
    for name in HOW:
        write_flow(tmp_path, name, "v2", "minLength = 2")
    for kill in range(KILLS):
        async with serve() as (server, wire):
            names = list(HOW)
            clients = [await replaying(wire, tmp_path, dice.choice(names))] if kill % 4 == 0 else []
            requests = [asyncio.create_task(requested(wire, name)) for name in dice.sample(names, 2)]
            await asyncio.sleep(dice.uniform(0, 0.6))
            for client in clients:
                with suppress(ProcessLookupError):  # it is done already
                    client.kill()
                await client.wait()
            await asyncio.sleep(dice.uniform(0, 0.2))
            server.kill()
            await server.wait()
            await asyncio.gather(*requests)
    async with serve() as (_, wire):
        await all_replayed(wire)
        for name in HOW:
            ids = [row[0] for row in database.execute(f"SELECT id FROM {name} ORDER BY id")]
            assert ids == list(range(RUNS * ROWS)), "each row once"
    with closing(sqlite3.connect(tmp_path / ".lume/state/runs.sqlite")) as state:
        query = (
            "SELECT flow, read, accepted, replayed, open, lost, again FROM row_accounts WHERE source_key = ''"
        )
        dirty = RUNS * (ROWS - 2)
        assert sorted(state.execute(query).fetchall()) == [
            (name, RUNS * ROWS, RUNS * ROWS, dirty, 0, 0, 0) for name in HOW
        ]
        assert state.execute("SELECT count(*) FROM claims").fetchall() == [(0,)]
    assert not list((tmp_path / ".lume/uploads").glob("*lume-replay*"))
