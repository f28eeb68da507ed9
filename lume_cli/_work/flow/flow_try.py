"""Runs a flow on a sample in a temporary server: nothing is frozen, published or kept. The work of `flow try`."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import click
from attrs import frozen

import lume_local
from lume_async import Client, LumeRun
from lume_cli._output import exit_codes, run_view, try_view
from lume_cli._session import CommandSession
from lume_cli._work.flow import flow_check
from lume_cli._work.flow.flow_diff import read_flow
from lume_local._shared.saved import stamp

_OUT = "{data}/out/{run_id}"
_WORDS = (
    (r"the (first of the )?server's roots?", "the current folder"),
    ("then submit the run again", "then try again"),
    (r"the source (?='.*' lies outside )", "the file "),  # a seed, or a sample that is a link to elsewhere
    ("this server (?=may use|takes)", "a try "),
)
"""How a try words messages of the server."""
_EVERY = 0.3
"""Seconds between two checks for a change."""
_LARGEST_DRY_RUN = 1000
"""The most rows that the API returns for a dry run."""

_DECIMAL = re.compile(r"DECIMAL\(\d+, ?(\d+)\)")
_exact = partial(json.loads, parse_float=Decimal)
"""A DECIMAL(18,2) is shown as 2500.00."""


@frozen
class Result:
    """The result of one try.

    Attributes:
        ref: the flow version as in the file.
        tried: the name under which it was run.
        rejected: the first rejected rows, with `_lume_row` and `_lume_reasons`.
        over: the file's `max_ratio`, if the share of rejected rows exceeds it, which would fail the run.
    """

    ref: str
    tried: str
    run: LumeRun
    clean: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    over: float | None

    @property
    def failure(self) -> str | None:
        """Why the run failed, worded for a try: with the flow's name as in its file, and no server."""
        message = run_view.failure(self.run)
        if message is None:
            return None
        for words, better in ((rf"{re.escape(self.tried)}\b", self.ref), *_WORDS):
            message = re.sub(words, better, message)
        return message


class Bench:
    """A server on a temporary folder, on which flows are tried. Create it with `bench`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tries = 0

    async def try_flow(self, file: Path, sample: Path, limit: int) -> Result:
        """Run the flow of a file without mistakes on the sample, and read the first rows of its output."""
        definition = read_flow(file)
        ratio = definition.get("rejects", {}).get("max_ratio")
        tried = await self._register(definition)
        run = await self._client.run(tried, str(sample), force_rerun=True)
        async for _snapshot in run.watch():
            pass
        metrics = run.metadata.metrics
        rejected = list(islice(_rows(run.rejects_location), limit))
        if metrics.rows_rejected and not run.has_output:
            rejected = await self._dry_rejects(tried, sample, limit)
        share = metrics.rows_rejected / metrics.rows_read if metrics.rows_read else 0.0
        return Result(
            ref=f"{definition['flow']}:{definition['version']}",
            tried=tried,
            run=run,
            clean=[_to_scale(row, definition) for row in islice(_rows(run.mapped_location), limit)],
            rejected=rejected,
            over=ratio if ratio is not None and share > ratio else None,
        )

    async def _register(self, definition: dict[str, Any]) -> str:
        """Register the flow under a version of its own, with output that can be read; return the flow version."""
        self._tries += 1
        target = {"mapped": f"{_OUT}/clean.ndjson", "rejects": f"{_OUT}/rejects.ndjson"}
        tried = {**definition, "version": f"try-{self._tries}", "target": target}
        tried.pop("rejects", None)  # a try shows the rejected rows, however many there are
        source = {name: value for name, value in definition.get("source", {}).items() if name != "uri"}
        tried["source"] = source  # the sample is the whole source, as an upload is
        return (await self._client.register_flow(tried)).flow_version

    async def _dry_rejects(self, tried: str, sample: Path, limit: int) -> list[dict[str, Any]]:
        """The first rejected rows of a run that FAILED because all rows were rejected: a dry run returns them."""
        dry = await self._client.dry_run(tried, str(sample), limit=min(limit, _LARGEST_DRY_RUN))
        return dry.rejects


@asynccontextmanager
async def bench(sample: Path) -> AsyncIterator[Bench]:
    """A server that can read the current folder and the sample's, and writes to a temporary one."""
    with TemporaryDirectory(prefix="lume-try-") as data:
        async with (
            lume_local.serve(flows=None, data=data, roots=[Path.cwd(), sample.parent]) as server,
            server.client() as client,
        ):
            yield Bench(client)


def _rows(location: str | None) -> Iterator[dict[str, Any]]:
    if location is None:
        return
    with Path(location.removeprefix("file://")).open(encoding="utf-8") as file:
        yield from map(_exact, file)


def _to_scale(row: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
    """With the digits that a DECIMAL has: DuckDB writes 2944.90 of a DECIMAL(12,2) as 2944.9."""
    shown = {}
    for name, value in row.items():
        found = _DECIMAL.fullmatch(str(definition["columns"].get(name, {}).get("sql_type", "")).upper())
        is_number = found is not None and isinstance(value, int | Decimal) and not isinstance(value, bool)
        shown[name] = round(Decimal(value), int(found[1])) if found and is_number else value
    return shown


class Trial:
    """Tries a flow file, once or at each change, and prints the result."""

    def __init__(self, session: CommandSession, file: Path, sample: Path, limit: int) -> None:
        self._session = session
        self._file = file
        self._shown, self._sample = str(sample), sample.absolute()
        self._limit = limit

    async def once(self) -> int:
        """Try once; return the exit code."""
        async with bench(self._sample) as workbench:
            return await self._try(workbench)

    async def at_each_change(self) -> int:
        """Try now and whenever the flow file or the sample has changed, until cancelled."""
        async with bench(self._sample) as workbench:
            while True:
                seen = self._state()
                if self._session.data.format == "table":
                    click.clear()  # does nothing if stdout is not a terminal
                await self._try(workbench)
                self._session.say.note("lume: waiting for changes; Ctrl-C to stop")
                while (now := self._state()) == seen or None in now:  # noqa: ASYNC110 - no event for a saved file
                    await anyio.sleep(_EVERY)

    async def _try(self, workbench: Bench) -> int:
        try:
            await flow_check.check(self._file)
        except flow_check.FlowError as error:
            flow_check.report(self._session, self._file, error)
            return exit_codes.ERROR
        result = await workbench.try_flow(self._file, self._sample, self._limit)
        self._print(result)
        return exit_codes.of_status(result.run.status)

    def _print(self, result: Result) -> None:
        data, run = self._session.data, result.run
        if data.format != "table":
            data.document(_to_dict(result, self._shown))
            return
        lines = try_view.counts(result.ref, self._shown, run, result.failure, result.over)
        shown = try_view.rows(result.clean, result.rejected, data.width)
        data.prose("\n".join(lines))
        data.text("\n".join([*([""] if shown else []), *shown]))

    def _state(self) -> list[tuple[int, ...] | None]:
        return [stamp(path) for path in (self._file, self._sample)]


def _to_dict(result: Result, sample: str) -> dict[str, Any]:
    metrics = result.run.metadata.metrics
    return {
        "flow_version": result.ref,
        "sample": sample,
        "status": str(result.run.status),
        "error_message": result.failure,
        "rows_read": metrics.rows_read,
        "rows_clean": metrics.rows_mapped,
        "rows_rejected": metrics.rows_rejected,
        "rows_filtered": metrics.rows_filtered,
        "reject_reasons": dict(metrics.reject_reasons),
        "max_ratio_exceeded": result.over is not None,
        "clean": result.clean,
        "rejected": result.rejected,
    }
