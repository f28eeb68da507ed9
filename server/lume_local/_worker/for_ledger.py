"""The part of `commit.json` for the server's ledger of rejected rows."""

from typing import Any

from lume_async._base.words import counted
from lume_local._shared.protocol import Execute, Json, read_job
from lume_local._shared.row_set import as_text, of_text
from lume_local._worker.reject_index import reasons_of, records_of
from lume_local._worker.rejects import Rejects
from lume_local._worker.sources.mending.mended_rows import rows_of_rejects
from lume_local._worker.sources.read import Intake
from lume_local._worker.sources.source import place_to_read

_BEFORE = "in other corrected rejects before, or accepted by a replay, and"
_AGAIN = "what was rejected there is among the rejects of that run"
_STAYS = "stays in the table, beside the rows of this run"


def for_ledger(job: Execute, intake: Intake, rejects: Rejects, metrics: dict[str, Any]) -> Json:
    """Return sets of rows, as text.

    - `reasons`: the rejects with each reason; for a replay, its records with each reason (see `reject_index`), and
      the `rejected` ones.
    - `mended`: for corrected rejects, the rejects of their run that this source contains.

    `metrics` gets a warning if rejects are processed more than once, or had become rows of the target before.
    """
    found: Json = {}
    if job.is_replay:
        (file,) = job.source["files"]
        found |= records_of(rejects, metrics, place_to_read(file))
    elif metrics["rows_rejected"]:
        found["reasons"] = reasons_of(rejects, metrics)
    if job.mended is not None:
        mended = rows_of_rejects(read_job(job.mended), intake.corrected)
        found["mended"] = as_text(mended)
        metrics["warnings"] |= _twice(intake, mended & of_text(job.taken) if job.taken else 0)
    metrics["warnings"] |= _beside(job.beside)
    return found


def _beside(rejects: int) -> dict[str, int]:
    """Return a warning about rows that this run does not replace."""
    if not rejects:
        return {}
    closed = counted(rejects, "reject of this source was", "rejects of this source were")
    them = "it" if rejects == 1 else "them"
    return {f"{closed} corrected or replayed before: what was accepted of {them} {_STAYS}": 1}


def _twice(intake: Intake, taken: int) -> dict[str, int]:
    """Return warnings about rejects that would be in the output more than once, each with its number of rows."""
    known = [one for one in intake.corrected.rows if any(one)]
    before, same = taken.bit_count(), len(known) - len(set(known))
    warnings = dict[str, int]()
    if before:
        was, is_ = ("row was", "is") if before == 1 else ("rows were", "are")
        warnings[f"{before:,} {was} {_BEFORE} {is_} processed once more: {_AGAIN}"] = 1
    if same:
        rows = counted(same, "row is the same reject", "rows are the same rejects")
        earlier = "an earlier row" if same == 1 else "earlier rows"
        warnings[f"{rows} as {earlier} of this file"] = 1
    return warnings
