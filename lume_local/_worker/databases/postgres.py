"""Connections to PostgreSQL, by psycopg (extra `postgres`), and what its errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lume_async._base.elided import elided
from lume_async._base.extras import require
from lume_local._worker.databases.database import LONGEST, DatabaseTrouble
from lume_local._worker.databases.url import DatabaseUrl

if TYPE_CHECKING:
    import psycopg

_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "60000", "keepalives_idle": "30"}
"""Of libpq, in seconds and milliseconds: so that a lost server is noticed. The URL overrides them."""
_COPIED = re.compile(r"COPY \w+, line (\d+)(.*)")
_SESSION = {
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lock_timeout": "60s",
}
"""One form of values, whatever the role's own settings are, and no endless wait for a lock."""


def connect(url: DatabaseUrl) -> "psycopg.Connection[Any]":
    """A connection. Raises `DatabaseTrouble`."""
    try:
        require("psycopg", "postgres", "a PostgreSQL database")
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:  # psycopg raises it without libpq, too
        raise DatabaseTrouble(str(error)) from None
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.Error:  # its message repeats a part of the URL
        raise DatabaseTrouble(f"{url.env} does not hold a valid postgresql:// URL") from None
    options: dict[str, Any] = {"application_name": "lume", **_DEFAULTS, **given, "client_encoding": "UTF8"}
    with psycopg_errors(url, f"{url.shown} ({url.env}) can't be reached"):
        connection = psycopg.connect(**options)
        try:
            for name, value in _SESSION.items():
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            connection.commit()
        except BaseException:
            connection.close()
            raise
    return connection


def sent(statement: str) -> bytes:
    """A statement for psycopg, whose types take only literals as texts: ours have quoted names in them."""
    return statement.encode()


@contextmanager
def psycopg_errors(url: DatabaseUrl, what: str) -> Iterator[None]:
    """Errors of psycopg as `DatabaseTrouble`: what failed, and the server's message."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        # A lock, too: it may belong to a lost session of ours that the server still keeps.
        lost = isinstance(error, psycopg.OperationalError)
        words = error.diag.message_primary or str(error) or type(error).__name__
        raise DatabaseTrouble(f"{what}: {url.scrubbed(words + _where(error))}", may_pass=lost) from None


def _where(error: "psycopg.Error") -> str:
    """The row or value concerned, if the server reports it."""
    detail = (error.diag.message_detail or "").rstrip(".")
    if not detail and (copied := _COPIED.match(error.diag.context or "")):
        detail = f"line {copied[1]} of the mapped rows{copied[2]}"
    return f" ({elided(detail, LONGEST)})" if detail else ""
