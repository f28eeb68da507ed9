"""examples/backfill.py: its exit codes, and that it resumes."""

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from examples.support import EXAMPLES, command, line_with
from faults.support import ENOUGH, Finished, Script
from local.flows import SLOW

import lume_local
from lume_async import Client


@pytest.fixture
def backfill(home: Path, settings: dict[str, str]) -> Callable[..., Script]:
    """The command for these sources."""

    def prepare(*sources: str, journal: str = "state.db") -> Script:
        (home / "paths.txt").write_text("".join(f"{name}\n" for name in sources))
        words = (str(EXAMPLES / "backfill.py"), "paths.txt", journal)
        return command(*words, folder=home, env=settings, flags=("-W", "error"))

    return prepare


async def ended(script: Script) -> Finished:
    async with script:
        return await script.end()


async def runs_of(server: lume_local.ThreadedServer) -> list[str]:
    async with Client(server.api_key, base_url=server.base_url) as client:
        return [run.id async for run in client.list_runs()]


@pytest.mark.thorough
async def test_the_worst_outcome_is_the_exit_code_and_a_journal_is_of_one_batch(
    backfill: Callable[..., Script],
    source: Callable[[str], str],
    home: Path,
    server: lume_local.ThreadedServer,
) -> None:
    rows = (home / source("bad rows.csv")).read_text().splitlines(keepends=True)
    (home / "good.csv").write_text("".join(rows[:3]))

    good = await ended(backfill("good.csv", journal="1.db"))
    assert (good.code, good.out.splitlines()[0]) == (0, "1 outcome: SUCCEEDED 1")
    partial = await ended(backfill("good.csv", "bad rows.csv", journal="2.db"))
    assert (partial.code, partial.out.splitlines()[0]) == (5, "2 outcomes: SUCCEEDED 1, PARTIAL_FAILED 1")
    assert len(await runs_of(server)) == 3, "a new journal runs a source again"
    again = await ended(backfill("good.csv", "bad rows.csv", journal="2.db"))
    assert (again.code, again.out.splitlines()[:3]) == (5, partial.out.splitlines()[:3])
    assert len(await runs_of(server)) == 3, "a batch that ended is told again"
    failed = await ended(backfill("nobody.csv", "bad rows.csv", "good.csv", journal="3.db"))
    assert (failed.code, "\nFAILED nobody.csv (run_" in failed.out) == (3, True)


@pytest.fixture
def slow_cleaner(home: Path) -> None:
    """For tests that name it before the server: rows that take their time, so that a run is caught while active."""
    (home / "flows" / "customer_cleaner.v1.toml").write_text(SLOW.replace("slow", "customer_cleaner"))
    (home / "quick.csv").write_text("id\n1\n")


@pytest.mark.thorough
async def test_an_interrupted_batch_is_resumed(
    slow_cleaner: None, backfill: Callable[..., Script], server: lume_local.ThreadedServer
) -> None:
    async with Client(server.api_key, base_url=server.base_url) as client:
        async with backfill("quick.csv", "slow.csv") as script:
            await line_with(script.process.stderr, re.compile("SUCCEEDED"))
            async with asyncio.timeout(ENOUGH):
                while not (slow := [run async for run in client.list_runs(source_path="slow.csv")]):
                    await asyncio.sleep(0.01)
            script.process.send_signal(signal.SIGINT)
            done = await script.end()
        assert (done.code, done.out, "the same command finishes the rest" in done.err) == (130, "", True)
        await slow[0].refresh()
        assert not slow[0].is_terminal
        await slow[0].cancel()
    resumed = await ended(backfill("quick.csv", "slow.csv"))
    assert resumed.code == 6
    assert resumed.out.startswith("2 outcomes: SUCCEEDED 1, CANCELLED 1\n")
    assert len(await runs_of(server)) == 2
