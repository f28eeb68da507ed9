"""Report columns that the flow does not read, and members that it reads but no object has."""

from difflib import get_close_matches
from typing import Any

from lume_async._base.elided import elided
from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.formats.names import NEW
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout


def check_columns(flow: dict[str, Any], layout: Layout) -> None:
    """Refuse columns that the flow does not read, if it is set to, and obvious mistakes in names.

    Raises:
        SourceError: there are such columns; or JSON whose objects have nothing that the flow reads, or have it in
            other case: names are case-sensitive there.
    """
    _check_members(flow, layout)
    if layout.unknown and flow["on_unknown_columns"] == "fail":
        listed = ", ".join(map(repr, layout.unknown[:10])) + (", …" if len(layout.unknown) > 10 else "")
        raise SourceError(
            f"the source has columns that {flow['ref']} does not read: {listed}. Register a flow version that reads "
            'them, or that sets on_unknown_columns = "warn"'
        )


def _check_members(flow: dict[str, Any], layout: Layout) -> None:
    spelled = {one.lower(): one for one in layout.members if not one.lower().startswith(RESERVED)}
    absent = _absent(layout)
    wrong = absent if len(absent) == len(layout.raw) else [one for one in absent if one.lower() in spelled]
    if not wrong:
        return
    listed = ", ".join(map(repr, [*spelled.values()][:30])) + (", …" if len(spelled) > 30 else "")
    near = get_close_matches(wrong[0].lower(), spelled, 1, 0.7)
    hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
    raise SourceError(
        f"no object of the source has {wrong[0]!r}, which {flow['ref']} reads ({flow['sources'][wrong[0]]}). "
        f"Found: {listed or 'objects without members'}.{hint} Fix the source or the flow{NEW}, then run it again"
    )


def _absent(layout: Layout) -> list[str]:
    """What the flow reads but no object has, if there are objects."""
    return [name for name in layout.raw if name not in layout.members] if layout.members else []


def noted(flow: dict[str, Any], layout: Layout) -> dict[str, list[str]]:
    """The columns in the source's metrics, for the next run."""
    return {"header": _header(layout)} if flow["on_unknown_columns"] == "warn" else {}


def changes(flow: dict[str, Any], layout: Layout, before: list[str] | None) -> dict[str, int]:
    """Warnings: of members that no object has; of every column that is not read, later of those that came or went."""
    absent = {f"no row has {name!r}": 1 for name in _absent(layout)}
    return absent | _unread(flow, layout, before)


def _unread(flow: dict[str, Any], layout: Layout, before: list[str] | None) -> dict[str, int]:
    if flow["on_unknown_columns"] != "warn":
        return {}
    if before is None:
        return {f"column {name!r} is not read": 1 for name in layout.unknown}
    header = _header(layout)
    unknown = map(elided, layout.unknown)
    came = [f"column {name!r} is new, and not read" for name in unknown if name not in before]
    went = [f"column {name!r} is gone" for name in before if name not in header]
    return dict.fromkeys([*came, *went], 1)


def _header(layout: Layout) -> list[str]:
    """All columns, read or not, as they are noted; without our own in a file of rejects."""
    names = dict.fromkeys([*layout.raw, *layout.unknown])
    return [elided(name) for name in names if not name.lower().startswith(RESERVED)]
