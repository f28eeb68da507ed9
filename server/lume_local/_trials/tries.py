"""Tries flows on a sample: what a clean of it would give, with nothing published."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike, fspath
from typing import Any

from anyio.to_thread import run_sync
from attrs import field, frozen

from lume_async.models import RunStatus
from lume_local._trials.clean import Cleaning, flow_of


@frozen
class TriedFlow:
    """The result of a flow on a sample.

    Attributes:
        ref: `flow:version`.
        status: how a run would end without `max_ratio`.
        message: why it would fail; None if it would not.
        metrics: the run's metrics, as `metadata.metrics` in the JSON form of a run; empty if it has none.
        mapped: the first clean rows; a number with a fraction is a decimal, with all its digits for a DECIMAL.
        rejects: the first rejected rows, with `_lume_row` and `_lume_reasons`.
        max_ratio: the flow's.
    """

    ref: str
    status: RunStatus
    message: str | None
    metrics: dict[str, Any] = field(factory=dict, repr=False)
    mapped: list[dict[str, Any]] = field(factory=list, repr=False)
    rejects: list[dict[str, Any]] = field(factory=list, repr=False)
    max_ratio: float | None = None


class Trial:
    """A sample on which flows are tried. Create it with `open_trial`."""

    def __init__(self, sample: str) -> None:
        self._sample = sample

    async def try_flow(
        self, path: str | PathLike[str], *, limit: int = 20, layout: str | None = None
    ) -> TriedFlow:
        """Run the flow of a file on the sample, which is the whole source.

        Args:
            path: the flow file.
            limit: the maximum number of rows of each kind to return.
            layout: the layout of the sample, one of the flow's; default: recognised.

        Raises:
            FlowError: the flow has a mistake; says where and what to do. Its `others` are the further ones.
            OSError: the flow file can't be read.
        """
        flow, compiled = await run_sync(flow_of, path)
        # A try shows rejected rows, however many there are.
        trial = Cleaning(flow, compiled | {"max_ratio": None}, self._sample, layout or "", "a try")

        def tried() -> TriedFlow:
            with trial.clean(None, dry=True) as result:
                mapped, rejects = result.mapped(limit=limit), result.rejects(limit=limit)
                return TriedFlow(
                    flow.ref,
                    result.status,
                    result.metadata["error_message"],
                    result.metrics,
                    list(mapped),
                    list(rejects),
                    flow.max_ratio,
                )

        try:
            return await run_sync(tried, abandon_on_cancel=True)
        finally:
            trial.stop()


@asynccontextmanager
async def open_trial(sample: str | PathLike[str]) -> AsyncIterator[Trial]:
    """Prepare to try flows on a sample, in this process.

    Relative seeds are looked up in the current folder. A try reads them only there and beside the sample.

    Args:
        sample: the file that is the source.
    """
    yield Trial(fspath(sample))
