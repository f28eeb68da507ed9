"""Servers are killed at random moments while runs end: every end is told, by itself and in digests."""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from local.people import Inbox, chat
from local.servers import process

RULES = """
[[message]]
on = ["FAILED"]
to_env = ["EACH_URL"]
at_most = "100 in 1s"

[[message]]
on = ["FAILED"]
to_env = ["DIGEST_URL"]
at_most = "1 in 1s"
"""
KILLS, RUNS = 3, 4
"""Servers that are killed, and runs that each is given."""
CONSOLE = "https://lume.example.com"


@pytest.fixture
async def people(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[Inbox[dict[str, Any]], Inbox[dict[str, Any]]]]:
    """Who is told of each run, and who gets digests. They are there all the time."""
    async with chat() as each, chat() as digests:
        monkeypatch.setenv("EACH_URL", each.address)
        monkeypatch.setenv("DIGEST_URL", digests.address)
        yield each, digests


def counted(said: dict[str, Any]) -> int:
    words = said["title"].split()
    return int(words[0]) if words[0].isdecimal() else 1


@pytest.mark.thorough
async def test_a_server_that_is_killed_at_any_moment(
    home: Path, people: tuple[Inbox[dict[str, Any]], Inbox[dict[str, Any]]]
) -> None:
    each, digests = people
    path = home / "messages.toml"
    path.write_text(RULES)
    rng, submitted = random.Random(1), []
    state = home / ".lume/state/runs.sqlite"
    options: dict[str, Any] = {"messages": str(path), "public_url": CONSOLE}
    for turn in range(KILLS):
        async with process(home, **options) as (server, wire):
            for number in range(RUNS):
                answer = await wire.submit("people:v1", f"absent-{turn}-{number}.csv")
                submitted.append(answer.document["id"])
            await asyncio.sleep(rng.uniform(0, 1.2))
            server.kill()
            await server.wait()
    async with process(home, **options) as (_, wire):
        ended = [await wire.until(run_id) for run_id in submitted]
        told = Counter(run["status"] for run in ended)
        failed = {run["id"] for run in ended if run["status"] == "FAILED"}
        async with asyncio.timeout(40):
            while not _is_done(state):
                await asyncio.sleep(0.05)
    assert set(told) <= {"FAILED", "CRASHED"}
    assert _runs(each) == failed
    made = [orjson.loads(body) for body in _deliveries(state, "env:DIGEST_URL")]
    assert sum(counted(one) for one in made) == len(failed)
    assert {(one["title"], one["text"]) for one in made} == {
        (one["title"], one["message"]) for one in digests.received
    }


def _deliveries(state: Path, receiver: str) -> list[bytes]:
    """The bodies of what was delivered to a receiver."""
    with closing(sqlite3.connect(state)) as db:
        query = "SELECT body FROM deliveries WHERE url = ? AND delivered_at IS NOT NULL"
        return [body for (body,) in db.execute(query, [receiver])]


def _is_done(state: Path) -> bool:
    """Whether nothing is left to tell."""
    with closing(sqlite3.connect(state)) as db:
        left = (
            "SELECT (SELECT count(*) FROM notices) + (SELECT count(*) FROM deliveries WHERE due IS NOT NULL) + "
            "(SELECT count(*) FROM message_states WHERE json_extract(state, '$.gathered') IS NOT NULL)"
        )
        return db.execute(left).fetchone() == (0,)


def _runs(inbox: Inbox[dict[str, Any]]) -> set[str]:
    """The runs that single messages are about."""
    return {one["message"].rpartition("/")[2] for one in inbox.received}
