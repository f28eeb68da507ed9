"""Replays rejected rows, or previews a replay; used by `lume replay`."""

from lume_async import Client, Replay, UnreadableRows
from lume_async._base.words import counted
from lume_cli._options import Waiting
from lume_cli._output import exit_codes, inbox_view
from lume_cli._session import CommandSession
from lume_cli._work.rejected_rows import matching_in_inbox
from lume_cli._work.wait import Wait

_OF_A_TRIAL = ("to", "rows", "passed", "reasons", "rejected_for", "messages", "unreadable")


class Replaying:
    """One replay; its runs are waited for if `waiting` says how."""

    def __init__(self, session: CommandSession, waiting: Waiting | None) -> None:
        self._session, self._waiting = session, waiting
        self._wait: Wait | None = None

    async def of(
        self,
        client: Client,
        flow: str,
        *,
        to: str | None,
        reason: str | None,
        since: float | None,
        dry_run: bool,
    ) -> int:
        """Start it; return the exit code."""
        reasons = await matching_in_inbox(self._session, client, flow, reason)
        if reasons == []:
            return exit_codes.OK
        replay = await client.replay(flow, to=to, reason=reasons, since=since, dry_run=dry_run)
        for one in replay.unreadable:
            self._session.say.warn(_unreadable(one, flow))
        if dry_run:
            self._show(replay)
            return exit_codes.OK
        if replay.replaying:
            self._session.say.note(
                f"{counted(len(replay.replaying), 'earlier replay')} of {flow} not ended yet: "
                "the rows that they have are not in this one"
            )
        say, data = self._session.say, self._session.data
        # The runs of an interrupted attempt also belong to this replay.
        run_ids = [*replay.replaying, *replay.run_ids]
        if not run_ids:
            say.note("no open row matches")
            return exit_codes.OK
        if replay.run_ids:
            say.note(f"{counted(replay.rows, 'row')} in {counted(len(replay.run_ids), 'run')} of {replay.to}")
        if self._waiting is None:
            if data.format in ("table", "ids"):
                data.text("\n".join(replay.run_ids) if replay.run_ids else "")
            else:
                data.document({"to": replay.to, "rows": replay.rows, "run_ids": replay.run_ids})
            return exit_codes.OK
        self._wait = Wait(self._session, run_ids, self._waiting)
        return await self._wait.until_ended(client)

    def _show(self, replay: Replay) -> None:
        data = self._session.data
        if data.format != "table":
            data.document({name: getattr(replay, name) for name in _OF_A_TRIAL})
            return
        data.line(f"{replay.to} would accept {replay.passed or 0:,} of {counted(replay.rows, 'row')}")
        accepted = ((f"{one.rows:,}", f"{one.passed:,}", one.reason) for one in replay.reasons)
        data.table(("ROWS", "ACCEPTED", "REASON"), accepted)
        for reason, rows in sorted(replay.rejected_for.items(), key=lambda item: -item[1]):
            self._session.say.note(f"would be rejected again: {rows:,}: {reason}")
        for message in replay.messages:
            self._session.say.warn(message)

    def interruption(self) -> tuple[str, str | None]:
        """Return the message for Ctrl-C, and the command to resume."""
        if self._wait is None:
            return (
                "interrupted; rows that are replayed already are not replayed twice: repeat the command",
                None,
            )
        return self._session.resume_wait(self._wait.unfinished)


def _unreadable(found: UnreadableRows, flow: str) -> str:
    """Describe the fate of rows that can't be replayed: they are lost, or open as before."""
    rows = f"{counted(found.rows, 'row')} of run {found.run_id}"
    if found.kind == "output-gone":
        return f"{rows} {inbox_view.are_lost(found.rows, flow, found.problem)}"
    return f"{rows} can't be read and {'stays' if found.rows == 1 else 'stay'} open: {found.problem}"
