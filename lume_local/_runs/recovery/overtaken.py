"""Whether a run that has committed, and whose output is not in place yet, has been overtaken by a later one.

Runs may write to the same place, and the last one counts. An output that had to wait would come after those of runs
that were submitted later: it stays out of their place, and the run says so.
"""

from pathlib import Path
from typing import Protocol

from anyio.to_thread import run_sync
from attrs import frozen

from lume_local._runs.records import Run
from lume_local._runs.times import ago_text
from lume_local._shared.commit import committed_ago, note_overtaken
from lume_local._shared.protocol import Json


@frozen
class Place:
    """Where a run was to write; `of_source` where only runs of the same flow and source replace each other there."""

    location: str
    of_source: bool


class Written(Protocol):
    """What is asked of the store."""

    async def overtaken_by(self, run: Run, since: str, location: str, *, of_source: bool) -> Run | None:
        """The newest run that was submitted after this one and has written there since that time."""
        ...


async def look(run: Run, record: Json, folder: Path, written: Written) -> None:
    """Note in the folder of a committed run that it was overtaken, if it was."""
    since = ago_text(await run_sync(committed_ago, folder))
    for place in places(record):
        other = await written.overtaken_by(run, since, place.location, of_source=place.of_source)
        if other is not None:
            why = (
                f"run {other.run_id}, which was submitted later, has written {place.location} meanwhile, and an "
                "older run does not replace the output of a newer one"
            )
            return await run_sync(note_overtaken, folder, why)


def places(record: Json) -> list[Place]:
    """The places of a commit in which it replaces something. Pure."""
    found = []
    for step in record["steps"]:
        mode = step["load"]["mode"] if "load" in step else ""
        if mode != "append" and "was" not in step:
            location = record["target_locations"][step["part"]]
            found.append(Place(location, of_source=mode == "replace_batch"))
    return found
