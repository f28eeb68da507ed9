"""Runs a flow on a sample: nothing is frozen, published or kept. The work of `flow try`."""

import re
from pathlib import Path
from typing import Any

import anyio
import click

import lume_local
from lume_async import ConfigurationError
from lume_cli._output import exit_codes, try_view
from lume_cli._session import CommandSession
from lume_cli._work.flow import flow_check
from lume_local import FlowError, TriedFlow
from lume_local._shared.saved import stamp

_WORDS = (
    (r"the (first of the )?server's roots?", "the current folder"),
    ("then submit the run again", "then try again"),
    (r"the source (?='.*' lies outside )", "the file "),  # a seed, or a sample that is a link to elsewhere
    ("this server (?=may use|takes)", "a try "),
)
"""How a try words messages of the server."""
_EVERY = 0.3
"""Seconds between two checks for a change."""


class TrialRuns:
    """Tries a flow file, once or at each change, and prints the result."""

    def __init__(self, session: CommandSession, file: Path, sample: Path, limit: int) -> None:
        self._session = session
        self._file = file
        self._shown, self._sample = str(sample), sample.absolute()
        self._limit = limit

    async def once(self) -> int:
        """Try once; return the exit code."""
        async with lume_local.open_trial(self._sample) as trial:
            return await self._try(trial)

    async def at_each_change(self) -> int:
        """Try now and whenever the flow file or the sample has changed, until cancelled."""
        async with lume_local.open_trial(self._sample) as trial:
            while True:
                seen = self._state()
                if self._session.data.format == "table":
                    click.clear()  # does nothing if stdout is not a terminal
                await self._try(trial)
                self._session.say.note("lume: waiting for changes; Ctrl-C to stop")
                while (now := self._state()) == seen or None in now:  # noqa: ASYNC110 - no event for a saved file
                    await anyio.sleep(_EVERY)

    async def _try(self, trial: lume_local.Trial) -> int:
        try:
            tried = await trial.try_flow(self._file, limit=self._limit)
        except FlowError as error:
            flow_check.report(self._session, self._file, error)
            return exit_codes.ERROR
        except OSError as error:
            raise click.ClickException(f"{self._file} can't be read: {error.strerror or error}") from None
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from None
        self._print(tried)
        return exit_codes.of_status(tried.status)

    def _print(self, tried: TriedFlow) -> None:
        data, failure, over = self._session.data, _failure(tried), _over(tried)
        if data.format != "table":
            data.document(_to_dict(tried, self._shown, failure, is_over=over is not None))
            return
        lines = try_view.counts(tried, self._shown, failure, over)
        shown = try_view.rows(tried.mapped, tried.rejects, data.width)
        data.prose("\n".join(lines))
        data.text("\n".join([*([""] if shown else []), *shown]))

    def _state(self) -> list[tuple[int, ...] | None]:
        return [stamp(path) for path in (self._file, self._sample)]


def _failure(tried: TriedFlow) -> str | None:
    """Why a run would fail, worded for a try: there is no server."""
    message = tried.message
    for words, better in _WORDS:
        message = message and re.sub(words, better, message)
    return message


def _over(tried: TriedFlow) -> float | None:
    """The flow's `max_ratio`, if the share of rejected rows exceeds it, which would fail a run."""
    read, ratio = tried.metrics.get("rows_read", 0), tried.max_ratio
    share = tried.metrics["rows_rejected"] / read if read else 0.0
    return ratio if ratio is not None and share > ratio else None


def _to_dict(tried: TriedFlow, sample: str, failure: str | None, *, is_over: bool) -> dict[str, Any]:
    metrics = tried.metrics
    return {
        "flow_version": tried.ref,
        "sample": sample,
        "status": str(tried.status),
        "error_message": failure,
        "rows_read": metrics.get("rows_read", 0),
        "rows_clean": metrics.get("rows_mapped", 0),
        "rows_rejected": metrics.get("rows_rejected", 0),
        "rows_filtered": metrics.get("rows_filtered", 0),
        "reject_reasons": metrics.get("reject_reasons", {}),
        "warnings": metrics.get("warnings", {}),
        "max_ratio_exceeded": is_over,
        "clean": tried.mapped,
        "rejected": tried.rejects,
    }
