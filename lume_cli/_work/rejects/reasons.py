"""Finds reasons by a part of their text."""

from collections.abc import Iterable

from lume_async import Client
from lume_cli._session import CommandSession


def containing(reasons: Iterable[str], text: str) -> list[str]:
    """Return the reasons that contain the text, ignoring case."""
    return [reason for reason in reasons if text.lower() in reason.lower()]


async def matching_in_inbox(
    session: CommandSession, client: Client, flow: str | None, text: str | None
) -> list[str] | None:
    """Return the reasons of open rows that contain the text, with a warning if none does; None without a text."""
    if text is None:
        return None
    known = {item.reason for item in (await client.inbox(flow=flow)).items}
    found = containing(sorted(known), text)
    if not found:
        shown = "; ".join(sorted(known)) if known else "no row is open"
        session.say.warn(f"no open row has a reason that contains {text!r}: {shown}")
    return found
