"""What a flow says of columns that it does not read: nothing, what has changed, or that there must be none."""

from typing import Any

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout


def check_unknown(flow: dict[str, Any], layout: Layout) -> None:
    """Refuse columns that the flow does not read, if it says so. Raises `SourceError`."""
    if layout.unknown and flow["on_unknown_columns"] == "fail":
        listed = ", ".join(map(repr, layout.unknown[:10])) + (", …" if len(layout.unknown) > 10 else "")
        raise SourceError(
            f"the source has columns that {flow['ref']} does not read: {listed}. Register a flow version that reads "
            'them, or that says on_unknown_columns = "warn"'
        )


def noted(flow: dict[str, Any], layout: Layout) -> dict[str, list[str]]:
    """What the metrics of the source say of its columns, for the next run."""
    return {"header": _header(layout)} if flow["on_unknown_columns"] == "warn" else {}


def changes(flow: dict[str, Any], layout: Layout, before: list[str] | None) -> dict[str, int]:
    """Warnings: at the first run of every column that is not read, later of those that came or went."""
    if flow["on_unknown_columns"] != "warn":
        return {}
    if before is None:
        return {f"column {name!r} is not read": 1 for name in layout.unknown}
    header = _header(layout)
    came = [f"column {name!r} is new, and not read" for name in layout.unknown if name not in before]
    went = [f"column {name!r} is gone" for name in before if name not in header]
    return dict.fromkeys([*came, *went], 1)


def _header(layout: Layout) -> list[str]:
    """All columns, read or not; our own, in a file of rejects, are none."""
    names = dict.fromkeys([*layout.raw, *layout.unknown])
    return [name for name in names if not name.lower().startswith(RESERVED)]
