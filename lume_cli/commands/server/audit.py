"""`lume audit`: who did what at a server."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lume_cli._options import Utf8, count_option, server_options, since_option
from lume_cli.commands import with_client

if TYPE_CHECKING:
    from lume_async import AuditEntry, Client
    from lume_cli._session import CommandSession

_HEADERS = ("AT", "BY", "WHAT", "SUBJECT", "DETAIL")


@click.command("audit")
@click.option("--by", type=Utf8(), metavar="KEY", help="Only acts of the key with this name.")
@click.option(
    "--what", type=Utf8(), metavar="ACT", help="Only acts of this kind: cancel, discard, register_flow …"
)
@since_option("Only acts in this time: 30m, 2h, 7d …")
@count_option("--limit", 50, "Maximum number of acts.")
@server_options
@with_client
async def command(
    session: "CommandSession",
    client: "Client",
    *,
    by: str | None,
    what: str | None,
    since: float | None,
    limit: int,
) -> None:
    """Print who did what and when, newest first; needs a key with the role admin.

    Acts are cancellations, dismissals, discards, replays, forced reruns, registrations of flow versions, reloads of
    keys and certificates, purges and restores. Submissions, even by `lume resubmit`, are runs: `lume list --by KEY`.

    \b
    lume audit --since 7d
    lume audit --by ann --what discard -o ndjson
    """
    kept: list[AuditEntry] = []
    async for entry in client.audit(by=by, what=what, since=since, limit=limit):
        if session.data.format == "ndjson":
            session.data.document(entry)
        else:
            kept.append(entry)
    if session.data.format != "ndjson":
        session.data.many(kept, _HEADERS, _rows)
        if not kept:
            session.say.note("no acts match")


def _rows(entries: "Sequence[AuditEntry]") -> list[tuple[str, ...]]:
    from lume_cli._output.text import moment

    return [(moment(one.at), one.by, one.what, one.subject, _detail(one.detail)) for one in entries]


def _detail(found: dict[str, Any]) -> str:
    """Format details as `rows 3, runs 2, why sent by mistake`, with lists as their lengths."""
    parts = (
        f"{name} {len(value):,}" if isinstance(value, list) else f"{name} {value}"
        for name, value in found.items()
        if value != ""
    )
    return ", ".join(parts)
