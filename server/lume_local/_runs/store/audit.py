"""The values of the audit: who did what when, apart from submissions, which are runs with `submitted_by`.

An entry is part of the transaction of its act, so that neither exists without the other. Nobody can change an entry,
or delete one that is younger than `KEPT_AT_LEAST`.
"""

from typing import Any, NamedTuple

from attrs import field, frozen

from lume_async._base.elided import bounded

KEPT_AT_LEAST = 90 * 86400.0
"""Seconds. The state itself refuses to delete a younger entry."""
CANCEL, DISMISS, DISCARD, ASSIGN = "cancel", "dismiss", "discard", "assign"
REPLAY, MEND, FORCE = "replay", "mend", "force_rerun"
APPROVE, SEND_BACK = "approve", "send_back"
REGISTER, MOVE, RELOAD, PURGE, RESTORE = "register_flow", "move_arrival", "reload", "purge", "restore"
RETRY, FORGET = "retry_arrival", "forget"
ACTS = (
    *(CANCEL, DISMISS, DISCARD, ASSIGN, REPLAY, MEND, APPROVE, SEND_BACK, FORCE),
    *(REGISTER, MOVE, RETRY, RELOAD, PURGE, RESTORE, FORGET),
)


@frozen
class Act:
    """An act by a person or the server.

    Attributes:
        by: the name of the key; `server` for the server itself and its own key.
        what: one of `ACTS`.
        subject: the object of the act: a run ID, a flow version, a flow, a file.
        detail: more about it; its texts are bounded.
    """

    by: str
    what: str
    subject: str
    detail: dict[str, Any] = field(factory=dict, converter=bounded)


class NotedAct(NamedTuple):
    """An act as it was recorded, with its number and the time."""

    seq: int
    at: str
    act: Act


class ActFilter(NamedTuple):
    """Selects acts; None means all."""

    by: str | None = None
    what: str | None = None
    since: str | None = None
