"""Proposals for flow versions, made from files that runs might read: one at a time, in a worker process."""

from typing import TYPE_CHECKING, Any, NamedTuple

from anyio.to_thread import run_sync

from lume_local._flow.urls import as_known, is_sftp_url, is_store_url
from lume_local._runs.sources.paths import UPLOAD, PathRefused, Roots
from lume_local._runs.sources.source_files import SourceSpec
from lume_local._runs.turns import Turns
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.failing import require
from lume_local._shared.protocol import Json, Propose

if TYPE_CHECKING:
    from lume_local._mapping.target import MappingTarget

MOST_BYTES = 1024 * 1024 * 1024
"""The size of a sample: rows at equal distances are read, and some decisions need all of them."""


MOST_OF_A_KEY = 3
"""The maximum number of one key's proposals in progress or waiting."""
WAIT_LIMIT = 120.0
"""Seconds that a proposal may wait for its turn."""


class ProposalRequest(NamedTuple):
    """A request for a proposal.

    Attributes:
        samples: source paths.
        version: the flow version to continue; None for the newest.
        schema: the target, if it is not a flow version.
        source: how the samples are read, as `[source]` of a flow; None to detect it.
        known: for each sample a part of that, beside which the rest is detected; may be empty.
        choices: the decisions of a person, see `_mapping.decisions`.
        inline: whether lookups are written into the flow instead of seed files.
        dry_run: whether the proposed version is tried on a sample.
        tried: the place of that sample.
        layout: the name of the new layout; empty for that of a sample.
    """

    samples: list[str]
    version: str | None
    schema: Json | None
    source: Json | None
    known: list[Json | None]
    choices: Json
    inline: bool
    dry_run: bool
    tried: int
    layout: str


class Proposals:
    def __init__(self, roots: Roots, pool: WorkerPool) -> None:
        self._roots, self._pool = roots, pool
        self._turns = Turns(MOST_OF_A_KEY, WAIT_LIMIT)

    async def make(
        self,
        target: "MappingTarget",
        wanted: ProposalRequest,
        headers: dict[str, list[str]],
        uris: tuple[str, ...],
        *,
        by: str,
    ) -> dict[str, Any]:
        """Return the proposal for a target from samples.

        Args:
            headers: the columns of the latest files of the version's layouts (see `Propose`).
            uris: where runs of the flow look for a source that is not a path of its own.
            by: the name of the requesting key.

        Raises:
            TooManyWaiting, NoTurn: see `Turns`.
            PathRefused: a sample may not be read, or does not exist.
            FlowError: a sample can't be read, or takes too long.
            ModuleNotFoundError: the server lacks a package for this.
            WorkerDied: the process has ended.
        """
        require("rapidfuzz", "", "proposing a mapping")
        places = await run_sync(lambda: [self._place(one, wanted.source, uris) for one in wanted.samples])
        for place, part in zip(places, wanted.known, strict=False):
            place["known"] = part
        async with self._turns.turn(by):
            job = Propose(
                target.to_json(),
                places,
                choices=wanted.choices,
                inline=wanted.inline,
                layout=wanted.layout,
                headers=headers,
            )
            return await self._pool.propose(job)

    def _place(self, sample: str, source: Json | None, uris: tuple[str, ...]) -> Json:
        if is_store_url(sample) or is_sftp_url(sample):
            raise _elsewhere(sample)
        path = self._roots.source(sample)
        if not path.is_file():
            spec = SourceSpec(uris or ("{source_path}",), sample)
            if spec.is_stored or spec.is_remote:
                raise _elsewhere(sample)
            path = spec.files(self._roots)[0]  # if there are several, all have the same layout
        if not path.is_file():
            raise PathRefused(f"the sample {sample!r} does not exist{self._roots.looked_up(sample)}")
        below = sample if sample.startswith(UPLOAD) else self._roots.relative(path)
        found: Json = {
            "path": str(path),
            "shown": sample,
            "called": as_known(sample),
            "below": below,
            "most_bytes": MOST_BYTES,
        }
        return found | ({} if source is None else {"source": source})


def _elsewhere(sample: str) -> PathRefused:
    return PathRefused(
        f"the sample {sample!r} lies in an object store or on an SFTP server, where samples can't be read: upload "
        "it, or a part of it"
    )
