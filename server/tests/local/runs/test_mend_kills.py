"""Rows of many runs that are mended while the server is killed: each is in its table once, and the ledger closes."""

import asyncio
import os
import random
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from local.runs.test_replay_kills import HOW, ROWS, accounts, database, fill, write_flow
from local.servers import process
from local.table_run import ENV, Database
from local.wire import Wire

assert callable(database)  # the fixture
LIMIT = 1000


async def opened(wire: Wire, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        query = {"flow": name, "limit": str(LIMIT)} | ({} if cursor is None else {"cursor": cursor})
        page = (await wire.ask("GET", "/v1/rejects", params=query)).document
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def edit(wire: Wire, name: str) -> int:
    """Mend all open rows in the draft; its revision."""
    rows, rev = await opened(wire, name), 0
    for at in range(0, len(rows), LIMIT):
        changes = [
            {
                "run": row["_lume_run"],
                "row": row["_lume_reject"],
                "cells": {"mail": f"{row['id']}@example.org"},
            }
            for row in rows[at : at + LIMIT]
        ]
        rev = (await wire.ask("PATCH", f"/v1/drafts/{name}", json={"rows": changes})).document["rev"]
    more = True
    while more:
        more = (await wire.ask("POST", f"/v1/drafts/{name}/judge", json={})).document["more"]
    return rev


REASONS = (None, "mail: is not an email address", "mail: is longer than 40 characters")
"""Of the rows that are submitted, which no reason excludes; all rows have the first one, half of them the other."""


async def submit(wire: Wire, name: str, rev: int, reason: str | None) -> list[dict[str, Any]]:
    try:
        body = {"rev": rev, "reason": reason}
        answer = await wire.ask("POST", f"/v1/drafts/{name}/submit", json=body)
        assert answer.status in (200, 201)
        return list(answer.document["runs"])
    except (aiohttp.ClientError, ConnectionError, AssertionError, KeyError):
        return []  # the server was killed in the middle of the answer


@pytest.mark.thorough
@pytest.mark.timeout(900)
async def test_each_row_is_mended_once(tmp_path: Path, database: Database) -> None:
    runs, kills = 20, 12
    dice = random.Random(runs + int(os.environ.get("SOAK_SEED", "0")))
    for name in HOW:
        write_flow(tmp_path, name, "v1", 'format = "email"\nmaxLength = 40')
    serve = partial(process, tmp_path, env={ENV: os.environ[ENV]}, max_active=2)
    async with serve() as (_, wire):
        await fill(wire, tmp_path, runs)
        revs = {name: await edit(wire, name) for name in HOW}
        inbox = (await wire.ask("GET", "/v1/inbox", params={"flow": "appended"})).document["items"]
        assert {one["reason"] for one in inbox} == {*REASONS} - {None}
        assert revs == dict.fromkeys(HOW, runs * (ROWS - 2))
    for _ in range(kills):
        async with serve() as (server, wire):
            requests = [
                asyncio.create_task(submit(wire, name, revs[name], reason))
                for name in HOW
                for reason in dice.sample(REASONS, 2)
            ]
            await asyncio.sleep(dice.uniform(0, 0.6))
            server.kill()
            await server.wait()
            await asyncio.gather(*requests)
    async with serve() as (_, wire):
        for _ in range(50):  # what an earlier run has may still fail, and be open again
            if not await accounts(wire):
                break
            for name in HOW:
                for run in await submit(wire, name, revs[name], dice.choice(REASONS)):
                    await wire.until(run["id"])
        assert not await accounts(wire), "rows that no submission takes"
        for name in HOW:
            ids = [row[0] for row in database.execute(f"SELECT id FROM {name} ORDER BY id")]
            assert ids == list(range(runs * ROWS)), "each row once"
            assert (await wire.ask("GET", f"/v1/drafts/{name}")).document["items"] == []
