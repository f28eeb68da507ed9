"""Clients of two servers, and what must hold for all that they have submitted, whatever happened meanwhile."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import duckdb
import moto_server
from attrs import define, field
from local.flows import PEOPLE
from local.several_servers import KEY, Cluster

from lume_async import Client, Retry, RunFailedError

PATIENCE = 120.0
"""Seconds within which each request and each wait must come to an end, whatever is killed."""
ROWS = 20
ENDED = {"SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED"}
TARGETS = {
    "files": "",
    "table": 'mapped = { url_env = "WAREHOUSE_URL", table = "public.people", mode = "append", create = true }',
    "objects": f'mapped = "s3://{moto_server.BUCKET}/{{run_id}}.csv"',
}


def write_flows(folder: Path, kinds: list[str]) -> None:
    folder.mkdir()
    for kind in kinds:
        text = PEOPLE.replace('"people"', f'"{kind}"')
        head, _, columns = text.partition("[columns.id]")
        target = f"[target]\n{TARGETS[kind]}\n" if TARGETS[kind] else ""
        (folder / f"{kind}.v1.toml").write_text(f"{head}{target}[columns.id]{columns}")


@define
class Clients:
    """What was submitted, and the changes that a reader of the feed was told."""

    cluster: Cluster
    kinds: list[str]
    sources: dict[str, tuple[str, int]] = field(factory=dict)
    """By source, its flow and the first of its ids."""
    told: defaultdict[str, list[str]] = field(factory=lambda: defaultdict(list))
    crashed: Counter[str] = field(factory=Counter)
    enough: asyncio.Event = field(factory=asyncio.Event)
    _numbers: Iterator[int] = field(factory=count)

    def client(self) -> Client:
        return Client(KEY, base_url=self.cluster.base_url, proxy=False, retry=Retry(attempts=12))

    def write_source(self) -> tuple[str, str]:
        """A source of its own, and the flow for it."""
        number = next(self._numbers)
        name, kind = f"source{number}.csv", self.kinds[number % len(self.kinds)]
        first = number * ROWS
        rows = "".join(f"{first + n},user{n}@example.org,{n}\n" for n in range(ROWS))
        (self.cluster.home / name).write_text("id,Email,Age\n" + rows)
        self.sources[name] = kind, first
        return kind, name

    async def work(self, runs: int) -> None:
        """Submit sources, one after the other, and wait for each; one that crashed is submitted again.

        At least so many, and until there is `enough`.
        """
        async with self.client() as client:
            for number in count():
                if number >= runs and self.enough.is_set():
                    return
                kind, source = self.write_source()
                while True:
                    async with asyncio.timeout(PATIENCE):
                        run = await client.run(f"{kind}:v1", source, on_duplicate="attach")
                        with suppress(RunFailedError):
                            await run.wait()
                    if run.status == "SUCCEEDED":
                        break
                    # A run FAILED if the database of its table went down before its commit.
                    expected = ("CRASHED", "FAILED") if kind == "table" else ("CRASHED",)
                    assert run.status in expected, f"{run.status}: {run.metadata.error_message}"
                    self.crashed[source] += 1

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Read the feed all the time, as a client does, through the proxy."""
        headers = {"lume-api-key": KEY}
        async with aiohttp.ClientSession(self.cluster.base_url, headers=headers) as session:
            cursor = (await self._page(session, None))["next_cursor"]
            done = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(session, cursor, done))
                yield
                done.set()

    async def _follow(self, session: aiohttp.ClientSession, cursor: str, done: asyncio.Event) -> None:
        while True:
            was_done = done.is_set()
            page = await self._page(session, cursor)
            for change in page["items"]:
                self.told[change["id"]].append(change["status"])
            cursor = page["next_cursor"]
            if was_done and not page["items"]:
                return

    async def _page(self, session: aiohttp.ClientSession, cursor: str | None) -> dict[str, Any]:
        """A page of the feed, asked for until there is an answer."""
        parameters = {} if cursor is None else {"after": cursor}
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with session.get(
                        "/v1/changes", params=parameters, headers={"Prefer": "wait=2"}
                    ) as answer:
                        if answer.status == 200:
                            page: dict[str, Any] = await answer.json()
                            return page
                        assert answer.status in (500, 502, 503, 504), await answer.text()
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    # -- what must hold

    def judge(self) -> dict[str, int]:
        """Nothing is lost, and nothing is published twice; how many runs there were of each status."""
        rows = self.cluster.asked("SELECT run_id, flow_version, source_path, status FROM lume.runs")
        succeeded = defaultdict[str, list[str]](list)
        for run_id, _, source, status in rows:
            assert status in ENDED, f"{run_id} is {status}"
            if status == "SUCCEEDED":
                succeeded[source].append(run_id)
        assert set(succeeded) == set(self.sources), "a source is lost"
        assert all(len(runs) == 1 for runs in succeeded.values()), "a source was processed twice"
        self._judge_feed({run_id: status for run_id, _, _, status in rows})
        published = {kind: getattr(self, f"_{kind}")() for kind in self.kinds}
        for source, (kind, first) in self.sources.items():
            ids = published[kind].pop(succeeded[source][0], None)
            assert ids == list(range(first, first + ROWS)), f"{source}: {kind} has {ids}"
        assert not any(published.values()), f"runs without success have published: {published}"
        return dict(Counter(status for *_, status in rows))

    def _judge_feed(self, ends: dict[str, str]) -> None:
        """The reader was told of all of them, and each end once."""
        assert set(self.told) == set(ends)
        stored = defaultdict[str, list[str]](list)
        for run_id, status in self.cluster.asked("SELECT run_id, status FROM lume.changes ORDER BY xid, seq"):
            stored[run_id].append(status)
        for run_id, statuses in self.told.items():
            assert statuses == stored[run_id], f"{run_id}: a gap in the feed, or a change twice"
            assert statuses[0] == "CREATED"
            assert [one for one in statuses if one in ENDED] == [ends[run_id]]

    def _files(self) -> dict[str, list[int]]:
        found = (self.cluster.home / ".lume/out/files/v1").glob("*/mapped.parquet")
        return {path.parent.name: _ids(f"SELECT id FROM '{path}'") for path in found}

    def _table(self) -> dict[str, list[int]]:
        found = defaultdict[str, list[int]](list)
        query = "SELECT _lume_run_id, id FROM public.people ORDER BY id"
        for run_id, number in self.cluster.postgres.execute(query):
            found[run_id].append(number)
        return found

    def _objects(self) -> dict[str, list[int]]:
        bucket = moto_server.Bucket(self.cluster.environment["AWS_ENDPOINT_URL"])
        assert bucket.uploads() == []
        return {
            name.removesuffix(".csv"): sorted(
                int(line.split(b",")[0]) for line in bucket.get(name).splitlines()[1:]
            )
            for name in bucket.names()
        }


def _ids(query: str) -> list[int]:
    return sorted(row[0] for row in duckdb.sql(query).fetchall())
