"""Entries of the audit as a table and as JSON. Pure."""

from collections.abc import Sequence
from typing import Any

from lume_async import AuditEntry
from lume_cli._output.text import moment

HEADERS = ("AT", "BY", "WHAT", "SUBJECT", "DETAIL")


def rows(entries: Sequence[AuditEntry]) -> list[tuple[str, ...]]:
    return [(moment(one.at), one.by, one.what, one.subject, detail(one.detail)) for one in entries]


def detail(found: dict[str, Any]) -> str:
    """Format details as `rows 3, runs 2, why sent by mistake`, with lists as their lengths."""
    parts = (
        f"{name} {len(value):,}" if isinstance(value, list) else f"{name} {value}"
        for name, value in found.items()
    )
    return ", ".join(parts)
