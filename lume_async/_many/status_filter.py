"""A status to filter by: an unknown one may be a newer server's, a near miss of a known one is a typing error."""

from difflib import get_close_matches

from lume_async.models import RunStatus

_NEAR = 0.75


def wanted_status(text: str) -> RunStatus:
    """The status in capitals, as all statuses are.

    Raises:
        ValueError: it is no status, or a near miss of a known one.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"status must be a RunStatus or its name, not {text!r:.60}")
    status = RunStatus(text.strip().upper())
    if not status.is_known and (near := get_close_matches(status, list(RunStatus), n=1, cutoff=_NEAR)):
        raise ValueError(f"unknown status {text!r:.60}; did you mean {near[0]}?")
    return status
