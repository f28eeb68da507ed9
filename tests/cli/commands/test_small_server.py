"""Commands on a server that has two operations only, and counts no rows: what it lacks isn't claimed or advised."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.shell import Done, Shell, environment
from run_service import RunService

from lume_async import Client


class TwoOperations(RunService):
    """It starts and shows runs."""

    def _list(self, request: object) -> object:
        return self._problem(404, "not-found")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with Shell(tmp_path, environment(tmp_path)) as shell:
        yield shell


async def on_a_small_server(shell: Shell, status: str, *words: str) -> Done:
    """The command, about a run with this status as RUN."""
    async with TwoOperations(statuses=[status], capabilities=()) as service:
        async with Client(service.api_key, base_url=service.url) as client:
            run = await client.run("people:v1", "people.csv")
        shell.variables |= {"LUME_BASE_URL": service.url, "LUME_API_KEY": service.api_key}
        return await asyncio.to_thread(shell.lume, *(run.id if word == "RUN" else word for word in words))


@pytest.mark.parametrize("status", ["SUCCEEDED", "PARTIAL_FAILED", "FAILED"])
@pytest.mark.parametrize("more", [[], ["--reason", "email"], ["-o", "json"]])
async def test_rejects_that_are_not_offered_are_not_said_to_be_none(
    shell: Shell, status: str, more: list[str]
) -> None:
    done = await on_a_small_server(shell, status, "rejects", "RUN", *more)

    assert (done.code, done.out) == (1, ""), done.err
    assert "does not offer" in done.err
    assert "no rejected rows" not in done.err


@pytest.mark.parametrize("command", [["show", "RUN"], ["wait", "RUN"], ["show", "RUN", "-o", "table"]])
async def test_rows_that_are_not_counted_are_not_said_to_be_none(shell: Shell, command: list[str]) -> None:
    done = await on_a_small_server(shell, "SUCCEEDED", *command)

    assert done.code == 0, done.err
    assert "SUCCEEDED" in done.out + done.err
    assert "0 read" not in done.out + done.err
    assert "0 rows" not in done.out + done.err


async def test_a_run_that_cannot_be_cancelled(shell: Shell) -> None:
    done = await on_a_small_server(shell, "TRANSFORMING", "cancel", "RUN")

    assert done.code == 1
    assert "does not offer the operation" in done.err


@pytest.mark.parametrize("command", ["rerun", "wait --timeout 0", "rejects", "resubmit"])
async def test_a_run_that_goes_on_is_not_advised_to_be_cancelled(
    shell: Shell, command: str, tmp_path: Path
) -> None:
    (tmp_path / "mended.csv").write_text("_lume_row,id\n1,2\n")
    name, *options = command.split()
    words = [name, "RUN", *options, *(["mended.csv"] if name == "resubmit" else [])]
    done = await on_a_small_server(shell, "TRANSFORMING", *words)

    assert done.code != 0
    assert "TRANSFORMING" in done.err or "does not offer" in done.err
    assert "cancel" not in done.err
