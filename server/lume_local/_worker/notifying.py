"""Sends messages with apprise (https://github.com/caronc/apprise), which sets no limit to its waits.

Apprise returns whether a service accepted a message, and logs why not. Its log may quote parts of the address, which
are secrets: they are removed, and only known forms of a cause are kept from its debug log.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from lume_local._shared.protocol import Notified, Notify, without_address

_CAUSE = re.compile(
    r"\[Errno -?\d+\] [A-Za-z ,]+|certificate verify failed[A-Za-z :-]*|timed out|\(\d{3}, b'[^']*'\)",
    re.IGNORECASE,
)
"""A cause in apprise's debug log: an error of the system or of TLS, or the answer of a mail server."""
_UNKNOWN = (
    "this is not an address that apprise knows: it begins with the name of a service, as mailto:// does"
)
_NO_REASON = "the service did not accept the message, and apprise gives no reason"


class _Kept(logging.Handler):
    """Collects log records."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []
        self.causes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.warnings.append(text)
        self.causes += _CAUSE.findall(text)


def notify(job: Notify) -> Notified:
    """Send a message and return the outcome."""
    with _log() as kept:
        try:
            problem = _notify(job, kept)
        except Exception as error:  # any error: there are more than a hundred plugins
            problem = f"{type(error).__name__}: {error}"
    return Notified(None if problem is None else without_address(problem, job.address))


def _notify(job: Notify, kept: _Kept) -> str | None:
    from apprise import Apprise

    service = Apprise.instantiate(job.address, suppress_exceptions=True)
    carrier = Apprise()
    if service is None or not carrier.add(service):
        return _UNKNOWN  # its log quotes a part of the address
    if carrier.notify(body=job.text, title=job.title, notify_type=job.type, body_format="text"):
        return None
    said = " ".join(dict.fromkeys(one.strip().rstrip(".") for one in kept.warnings)) or _NO_REASON
    cause = next((one for one in kept.causes if one not in said), None)
    return f"{said} ({cause})" if cause else said


@contextmanager
def _log() -> Iterator[_Kept]:
    """Collect apprise's log for the duration of the block."""
    kept, log = _Kept(), logging.getLogger("apprise")
    level, log.propagate = log.level, False
    log.addHandler(kept)
    log.setLevel(logging.DEBUG)
    try:
        yield kept
    finally:
        log.removeHandler(kept)
        log.setLevel(level)
