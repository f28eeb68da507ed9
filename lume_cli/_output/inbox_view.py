"""The inbox and the preview of a replay, as tables and JSON. Pure."""

from collections.abc import Iterator
from typing import Any

from lume_async import Inbox, InboxFlow
from lume_cli._output.text import moment, plain

HEADERS = ("FLOW", "OPEN", "NEW", "CLOSED", "OLDEST", "REASON")


def rows(inbox: Inbox) -> Iterator[tuple[str, ...]]:
    """Yield the reasons of each flow; a row with two reasons counts under both."""
    for item in inbox.items:
        yield (
            item.flow,
            f"{item.open:,}",
            f"{item.new:,}",
            f"{item.closed:,}",
            moment(item.oldest),
            item.reason,
        )


def are_lost(count: int, flow: str, why: str) -> str:
    """Explain that rows without their rejects are lost, and what to do about them."""
    are, them = ("is", "it") if count == 1 else ("are", "them")
    return f"{are} lost: {why}. Run the source again, or discard {them}: `lume discard {flow} --why …`"


def to_dict(flow: InboxFlow, inbox: Inbox) -> dict[str, Any]:
    return {**plain(flow), "reasons": [item for item in inbox.items if item.flow == flow.flow]}
