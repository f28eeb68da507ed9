"""The interface of a database for sources and targets; each kind is one file beside this one."""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import Factory, field, frozen

from lume_async._base.elided import elided
from lume_async._base.words import counted
from lume_local._flow.databases import DATABASE, VALID_FROM
from lume_local._shared.failing import Obstacle

Row = tuple[str | None, ...]
"""Values as strings; NULL is None."""
NUMBER = "_lume_n"
"""The column with a row's number in the source, from 0."""
LONGEST = 200
"""Characters of a row in a message."""


class DatabaseTrouble(Obstacle):
    """A database can't be used as the flow intends.

    Attributes:
        is_undone: whether the database aborted the transaction because of a concurrent one, or for its own reasons,
            and not because of the rows: until the commit it can be repeated. In an open format, another writer's
            commit came first.
    """

    def __init__(self, message: str, *, may_pass: bool = False, is_undone: bool = False) -> None:
        super().__init__(message, may_pass=may_pass)
        self.is_undone = is_undone


@frozen
class Load:
    """The description of a load.

    Attributes:
        columns: names and SQL types (DuckDB's) of the rows.
        run_id: claims the load, so that it is done only once.
        source_path: the source's key; with `flow` it names the batch.
        create: whether to create the table if it is missing.
        required: the columns that are never NULL.
        ever: the columns whose values must not be in the table yet.
        at: when the run was submitted, from which its versions of rows are valid.
        on_violation: `fail`, or `reject`: rows that violate a constraint are left out.
        history: empty, or `scd2`: an upsert adds versions of rows.
        part: `mapped` or `rejects` of the run, each a separate load.
        kind, partition_by, evolve, catalog: as of a `TableTarget`.
    """

    url_env: str
    table: str
    mode: str
    key: list[str]
    columns: list[list[str]]
    run_id: str
    flow: str
    source_path: str
    create: bool = False
    required: list[str] = Factory(list)
    ever: list[str] = Factory(list)
    on_violation: str = "fail"
    history: str = ""
    at: str = ""
    part: str = "mapped"
    kind: str = DATABASE
    partition_by: list[str] = field(factory=list, converter=list)
    evolve: str = ""
    catalog: str = ""

    @property
    def claim(self) -> str:
        """The key of a finished load in the table of loads."""
        return self.run_id if self.part == "mapped" else f"{self.run_id}/{self.part}"

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]


Refused = dict[int, list[str]]
"""The reasons why a table refuses rows, by row number."""


def shown(names: Sequence[str], values: Sequence[Any]) -> str:
    """Return a row, or a part of it, for messages."""
    text = ", ".join(
        f"{name} {'is NULL' if value is None else f'= {value}'}"
        for name, value in zip(names, values, strict=True)
    )
    return elided(text, LONGEST)


def plain(number: str) -> str:
    """Return the same number without an exponent, which integer and decimal columns of a flow refuse."""
    return format(Decimal(number), "f") if "e" in number else number


def check_all(load: Load, rows: int, written: int) -> None:
    """Check that every row is in the table, with history as one version. Raises `DatabaseTrouble`."""
    if rows != written and load.history:
        raise DatabaseTrouble(
            f"{load.table} would have {counted(written, 'current row')} for {counted(rows, 'row')} of the run: a key "
            "has several, its collation makes keys equal, or a trigger skips some. Nothing was written"
        )
    if rows != written:
        raise DatabaseTrouble(
            f"{load.table} accepted {written:,} of {counted(rows, 'row')}: does a trigger skip some? "
            "Nothing was written"
        )


def instant(load: Load, latest: str | None) -> str:
    """Return the instant from which the versions of a load are valid: the run's, or just after the latest version.

    Raises `DatabaseTrouble`.
    """
    at = datetime.fromisoformat(load.at).astimezone(UTC).replace(tzinfo=None)
    if latest is not None:
        try:
            at = max(at, datetime.fromisoformat(latest) + timedelta(microseconds=1))
        except (ValueError, OverflowError, TypeError):
            raise DatabaseTrouble(
                f"{load.table} has a current row with {VALID_FROM} = {latest[:40]!r}: no version can begin after that"
            ) from None
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"


def without_secrets(message: str, secrets: Iterable[str]) -> str:
    """Return a message on one line, with `***` in place of each secret.

    Ordinary words contain a secret of up to three characters: it is replaced in a URL (`:x@`), as a value (`=x`), and
    if it is all that is quoted.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        one = re.escape(secret)
        message = re.sub(
            one
            if len(secret) > 3
            else rf"(?<=:){one}(?=@)|(?<==){one}(?=[&;,\s]|$)|(?<=['\"]){one}(?=['\"])",
            "***",
            message,
        )
    return re.sub(r"\s+", " ", message).strip()


FILES = {"sqlite": "SQLite", "duckdb": "DuckDB"}
"""The schemes of databases that are files."""
SCHEMES = ("postgresql", "postgres", *FILES)


@frozen
class DatabaseUrl:
    """The URL of a database, created with `of`.

    Attributes:
        env: the environment variable that contains it.
        scheme: `postgresql`, `sqlite` or `duckdb`.
        shown: the URL without user, password and options.
    """

    env: str
    text: str = field(repr=False)
    scheme: str
    shown: str
    path: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, env: str) -> "DatabaseUrl":
        """Read the URL from a variable. Raises `DatabaseTrouble`, whose message never quotes the value."""
        text = os.environ.get(env, "").strip()
        if not text:
            raise DatabaseTrouble(
                f"the environment variable {env} is not set where the server runs: it must hold the URL of the "
                "database, such as postgresql://user:password@host/database, sqlite:////path/to/file.db or "
                "duckdb:////path/to/file.duckdb"
            )
        try:
            parts = urlsplit(text)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise DatabaseTrouble(_broken(env)) from None
        if parts.scheme not in SCHEMES:
            begins = "postgresql://, sqlite:/// or duckdb:///"
            raise DatabaseTrouble(f"{env} must hold a URL that begins with {begins}")
        if (scheme := parts.scheme) in FILES:
            path = unquote(parts.path)
            if parts.netloc or len(path) < 2 or text[len(f"{scheme}:") :][:3] != "///":
                raise DatabaseTrouble(
                    f"{env} must name a file: {scheme}:////absolute/path or {scheme}:///relative/path"
                )
            file = os.path.abspath(path[1:])
            return cls(env, text, scheme, f"{scheme}:///{file}", file, ())
        if parts.netloc.count("@") > 1 or "@" in parts.path or "," in parts.netloc or parts.fragment:
            raise DatabaseTrouble(_broken(env))
        options = dict(parse_qsl(parts.query))
        secrets = [parts.password or "", unquote(parts.password or ""), options.get("password", "")]
        where = f"[{host}]" if host and ":" in host else host or ""
        shown = f"postgresql://{where}{f':{port}' if port else ''}{parts.path}"
        return cls(env, text, "postgresql", shown, "", tuple(one for one in secrets if one))

    def scrubbed(self, message: str) -> str:
        """Return a message of the database or its driver on one line, without the password."""
        return without_secrets(message, self.secrets)


def _broken(env: str) -> str:
    return (
        f"{env} does not hold a valid URL of one database: write postgresql://user:password@host:port/database, with "
        "special characters in user and password percent-encoded (@ is %40, / is %2F, # is %23)"
    )
