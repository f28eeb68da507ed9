"""The file of a journal: which name may be one, opening it for this process alone, and what its errors mean."""

import os
import sqlite3
import stat

from lume_async._batch.held_paths import held_paths
from lume_async._batch.journal_mark import mark_of
from lume_async.errors import ConfigurationError

CLOSING = 5.0
"""Seconds that an opening waits for this process to close the same journal."""

_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    item INTEGER NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (item, seq)
) WITHOUT ROWID
"""
_OURS = 0x4C756D65  # "Lume", in SQLite's own place for whose file it is: ours, and in which form
_HEADER = b"SQLite format 3\0"
_IN_USE = 1
"""In SQLite's place for a version of the user's: the newest entries may stand in the log (`-wal`) only."""
_VERSION_AT, _VERSION_TO = 60, 64
"""Where that stands in the file."""


def path_of(name: str | os.PathLike[str]) -> str:
    """The path of a journal, absolute and without links: to SQLite it means a file and nothing else.

    Raises:
        ConfigurationError: it names no file, so that nothing would be kept.
        TypeError: it is no path.
    """
    text = os.fsdecode(name)
    if not text or text == ":memory:" or text.startswith("file:") or "\0" in text:
        raise ConfigurationError(
            f"journal={text!r} names no file, so nothing would be kept: give the path of a file "
            "(SQLite's own names, such as ':memory:' and 'file:…', are not taken)"
        )
    return os.path.realpath(text)


def shown(path: str) -> str:
    """The path for a message: as short as it was probably given."""
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # the working directory is gone
        here = ""
    return repr(path.removeprefix(here))


def open_file(path: str) -> sqlite3.Connection:
    """Open the file, or make a new one, and hold it.

    Raises:
        ConfigurationError: it is in use, or no journal, or damaged, or it can't be written.
    """
    if not held_paths.take(path, CLOSING):
        raise ConfigurationError(
            f"the journal {shown(path)} is in use by this process: end the run_many that has it, "
            "or take another file"
        )
    try:
        _check(path)
        connection = _connected(path)
    except BaseException:
        held_paths.release(path)
        raise
    held_paths.keep(path, connection)
    return connection


def needs_no_log(connection: sqlite3.Connection) -> bool:
    """Say so in the file, before it is closed; whether that was possible. If not, the next opening does it."""
    try:
        connection.execute("PRAGMA user_version = 0")
    except sqlite3.Error:
        return False
    return True


def close_file(connection: sqlite3.Connection, path: str) -> None:
    """Let go of the file. Nothing depends on the tidying up that SQLite does then: the next opening does it, too."""
    try:
        connection.close()
    finally:
        held_paths.release(path)


def trouble(path: str, error: sqlite3.Error | OSError) -> str:
    """What an error of SQLite, or of the system, means for a journal, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"the journal {shown(path)} is in use by another process: wait for it, or take another file"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damage(path, str(error))
    # SQLite may say "disk I/O error" of this, too.
    read_only = os.path.exists(path) and not os.access(path, os.W_OK)
    if (code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or isinstance(error, OSError)) and not read_only:
        return (
            f"the journal {shown(path)} can't be written ({error}): see whether its disk is full or broken, then "
            "start again with the same journal: what it holds is intact, and what it lacks is looked up"
        )
    if code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(os.path.dirname(path)):
        return f"the journal {shown(path)} can't be opened: its folder is not there"
    if read_only or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return (
            f"the journal {shown(path)} can't be written ({error}): it and its folder have to be writable, as SQLite "
            "keeps a second file beside it"
        )
    return f"the journal {shown(path)} can't be used: {error}"


def damage(path: str, what: str) -> str:
    """What to do about a journal that is not what was written."""
    beside = " and ".join(shown(os.path.basename(name)) for name in (path + "-wal", mark_of(path)))
    return (
        f"the journal {shown(path)} is damaged ({what}): restore it from a copy, or begin a new one under another "
        f'name, or after removing this one with {beside} beside it. There on_duplicate="attach" follows the runs '
        "that exist instead of submitting their sources again (except those with force_rerun=True)"
    )


def _check(path: str) -> None:
    """Refuse what SQLite would take for an empty database, or could wait for without end.

    Not while this process has the file open: closing it here would free SQLite's lock.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"the journal {shown(path)} is not a regular file: take another path")
        with open(path, "rb") as file:
            header = file.read(_VERSION_TO)
    except OSError:
        return  # opening it tells better what is wrong
    start = header[: len(_HEADER)]
    in_use = int.from_bytes(header[_VERSION_AT:]) == _IN_USE
    if not start:
        if _has_content(path + "-wal"):
            raise ConfigurationError(damage(path, "it is empty, and should not be"))
    elif start != _HEADER:
        cut = _HEADER.startswith(start)
        raise ConfigurationError(damage(path, "it is cut off") if cut else _foreign(path))
    elif in_use and not os.path.exists(f"{path}-wal") and not os.path.exists(mark_of(path)):
        raise ConfigurationError(damage(path, "the file -wal that belongs to it is missing"))


def _has_content(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False


def _connected(path: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigurationError(trouble(path, error)) from None
    try:
        _prepare(connection, path)
        return connection
    except sqlite3.Error as error:
        connection.close()
        reason = trouble(path, error)
    except UnicodeDecodeError:  # SQLite's own words quote a damaged page
        connection.close()
        reason = damage(path, "a page holds something else than it should")
    except BaseException:
        connection.close()
        raise
    raise ConfigurationError(reason)


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Take the file for this process alone; the lock goes with the process, however that ends.

    Another program's database is left as it is. `synchronous = FULL` makes an entry survive a power cut, not only
    a killed process.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    made_by = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if made_by != _OURS and tables:
        raise ConfigurationError(_foreign(path))
    damaged = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]  # else it could hide entries
    connection.execute("COMMIT")
    if damaged != "ok":
        raise ConfigurationError(damage(path, " ".join(damaged.split())))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN")
    connection.execute(_TABLE)
    connection.execute(f"PRAGMA application_id = {_OURS}")
    connection.execute(f"PRAGMA user_version = {_IN_USE}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # into the file itself


def _foreign(path: str) -> str:
    return f"{shown(path)} is no journal of this library: take another file"
