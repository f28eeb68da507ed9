"""The answer to a submission whose source a run holds already. Pure."""

from lume_local._http.problems import Problem
from lume_local._http.requests import Submission
from lume_local._runs.records import Duplicate


def duplicate_problem(duplicate: Duplicate, wanted: Submission, source_changed: bool | None) -> Problem:
    """Which run it is and what to do; `source_changed` is None where nobody can tell."""
    flow, source, run_id = wanted.flow_version, f"{wanted.source_path!r}", duplicate.run_id
    kind = "run-in-progress" if duplicate.is_active else "already-processed"
    if duplicate.is_active:
        detail = f"{flow} is processing {source} in run {run_id}: wait for that run, or cancel it"
    elif source_changed:
        detail = (
            f"{flow} has processed {source} in run {run_id}, but the source was changed since: pass force_rerun=true "
            'to process what it has now in place of that, or set source.identity = "content" in a new flow version, '
            "for which new content is a new source"
        )
    else:
        detail = (
            f"{flow} has processed {source} in run {run_id}: use its output, or pass force_rerun=true to process "
            "it again"
        )
    return Problem(kind, detail, run_id=run_id, source_changed=source_changed)
