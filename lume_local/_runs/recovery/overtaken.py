"""Whether a run that has committed, but whose output is not in place yet, was overtaken by a later run.

Runs may write to the same place; the run submitted last wins. So a delayed output must not replace that of a run
submitted later: it is not put in place, and the run's error message says so.
"""

from pathlib import Path

from anyio.to_thread import run_sync
from attrs import frozen

from lume_local._runs.recorder import RunRecorder
from lume_local._runs.records import StoredRun
from lume_local._runs.times import ago_text
from lume_local._shared.commit import committed_ago, note_overtaken
from lume_local._shared.protocol import Json


@frozen
class OutputPlace:
    """Where a run writes; with `of_source`, only runs of the same flow and source replace each other there."""

    location: str
    of_source: bool


async def look(run: StoredRun, record: Json, folder: Path, recorder: RunRecorder) -> None:
    """If a committed run was overtaken, record that in its folder."""
    since = ago_text(await run_sync(committed_ago, folder))
    for place in places(record):
        other = await recorder.overtaken_by(run, since, place.location, of_source=place.of_source)
        if other is not None:
            why = (
                f"run {other.run_id}, which was submitted later, has written {place.location} meanwhile, and an "
                "older run does not replace the output of a newer one"
            )
            return await run_sync(note_overtaken, folder, why)


def places(record: Json) -> list[OutputPlace]:
    """The places whose content a commit replaces. Pure."""
    found = []
    for step in record["steps"]:
        mode = step["load"]["mode"] if "load" in step else ""
        if mode != "append" and "was" not in step:
            location = record["target_locations"][step["part"]]
            found.append(OutputPlace(location, of_source=mode == "replace_batch"))
    return found
