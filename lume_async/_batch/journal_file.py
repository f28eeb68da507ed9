"""The file of a journal: valid names, exclusive opening, the mark beside it, and the meaning of its errors."""

import os
import sqlite3
import stat
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeAlias

from lume_async._base import arguments
from lume_async._base.elided import elided
from lume_async._base.immortal import immortal
from lume_async._base.platform import BINARY, at_fork
from lume_async._base.version import __version__
from lume_async.errors import ConfigurationError

CLOSING = 5.0
"""Seconds to wait until this process has closed the same journal."""
_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    item INTEGER NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (item, seq)
) WITHOUT ROWID
"""
_FACTS = "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
FORM = 2
"""The form of the file and its entries: a later one is refused, an earlier one becomes this one when it is opened."""
_OURS = 0x4C756D65  # "Lume", as SQLite's `application_id`
_HEADER = b"SQLite format 3\0"
_COMPLETE = 2 * (FORM - 1)
_IN_USE = _COMPLETE + 1
"""In SQLite's `user_version`, beside the form: the newest entries may be in the log (`-wal`) only."""
_VERSION_AT, _VERSION_TO = 60, 64
"""The offset of `user_version` in the file."""
_LENGTH = 8
_CHECKED = _LENGTH + 4


Home: TypeAlias = tuple[str, str] | None
"""The server whose runs a journal records: the name of its contract, and its address; None: any."""


class HeldPaths:
    """The open journals of this process, each with one owner at a time.

    A program that leaves a `run_many` early and starts it again at once opens the journal while the first call is
    still closing it, so opening waits for the close.
    """

    def __init__(self) -> None:
        self._reset()
        at_fork(after_in_child=self._leave_to_parent)

    def take(self, path: str, patience: float) -> bool:
        """Take the path, waiting at most `patience` seconds; return whether it was free."""
        with self._changed:
            free = self._changed.wait_for(lambda: path not in self._held, patience)
            if free:
                self._held[path] = None
            return free

    def keep(self, path: str, connection: object) -> None:
        """Store the connection that holds the path."""
        with self._changed:
            self._held[path] = connection

    def release(self, path: str) -> None:
        """Release the path."""
        with self._changed:
            del self._held[path]
            self._changed.notify_all()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, object] = {}

    def _leave_to_parent(self) -> None:
        """Keep the parent's connections from being finalized in a forked child: SQLite would clean up its files."""
        for connection in self._held.values():
            immortal(connection)
        self._reset()


held_paths = HeldPaths()


def path_of(name: str | os.PathLike[str]) -> str:
    """Return the absolute path of a journal, with links resolved; SQLite can take it only for a file name.

    Raises:
        ConfigurationError: it does not name a file.
    """
    text = arguments.path(name, "journal", ConfigurationError)
    if text == ":memory:" or text.startswith("file:"):
        raise ConfigurationError(
            f"journal={text!r} does not name a file, so nothing would be kept: pass the path of a file "
            "(SQLite's special names, such as ':memory:' and 'file:…', are not supported)"
        )
    return os.path.realpath(text)


def shown(path: str) -> str:
    """Return the path for a message, relative to the working directory if possible."""
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # the working directory is gone
        here = ""
    return repr(path.removeprefix(here))


def open_file(path: str, home: Home = None) -> sqlite3.Connection:
    """Open or create the file, and lock it. Raises `ConfigurationError` as `Journal.open` does."""
    if not held_paths.take(path, CLOSING):
        raise ConfigurationError(
            f"the journal {shown(path)} is in use by this process: end the run_many that uses it, "
            "or use another file"
        )
    try:
        _check(path)
        connection = _connected(path, home)
    except BaseException:
        held_paths.release(path)
        raise
    held_paths.keep(path, connection)
    return connection


def needs_no_log(connection: sqlite3.Connection) -> bool:
    """Record before closing that the log may be absent; return whether that succeeded."""
    try:
        connection.execute(f"PRAGMA user_version = {_COMPLETE}")
    except sqlite3.Error:
        return False
    return True


def close_file(connection: sqlite3.Connection, path: str, afterwards: Callable[[], object]) -> None:
    """Close the file, and call `afterwards` before this process can open it again.

    SQLite's cleanup may fail: it is repeated when the file is opened next.
    """
    try:
        connection.close()
        afterwards()
    finally:
        held_paths.release(path)


def trouble(path: str, error: sqlite3.Error | OSError) -> str:
    """Return the message for an error of SQLite or the system: its effect on the journal, and the remedy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"the journal {shown(path)} is in use by another process: wait for it, or use another file"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damage(path, str(error))
    # SQLite may also report a read-only file as "disk I/O error".
    read_only = os.path.exists(path) and not os.access(path, os.W_OK)
    if (code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or isinstance(error, OSError)) and not read_only:
        return (
            f"the journal {shown(path)} can't be written ({error}): check whether its disk is full or broken, then "
            "start again with the same journal: its entries are intact, and the missing ones are looked up"
        )
    if code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(os.path.dirname(path)):
        return f"the journal {shown(path)} can't be opened: its folder does not exist"
    if read_only or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return (
            f"the journal {shown(path)} can't be written ({error}): the file and its folder must be writable, as "
            "SQLite keeps a second file beside it"
        )
    return f"the journal {shown(path)} can't be used: {error}"


def damage(path: str, what: str) -> str:
    """Return the message for a damaged journal, with the remedy."""
    beside = " and ".join(shown(os.path.basename(name)) for name in (path + "-wal", mark_of(path)))
    return (
        f"the journal {shown(path)} is damaged ({what}): restore it from a backup, or start a new one: under another "
        f'name, or after removing this one with {beside} beside it. With on_duplicate="attach" a new journal follows '
        "existing runs instead of submitting their sources again (except with force_rerun=True)"
    )


def _check(path: str) -> None:
    """Refuse files that SQLite would read as an empty database, or could wait for without end.

    Must not be called while this process has the file open: closing it here would release SQLite's lock.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"the journal {shown(path)} is not a regular file: use another path")
        with open(path, "rb") as file:
            header = file.read(_VERSION_TO)
    except OSError:
        return  # SQLite's error on opening is more precise
    start = header[: len(_HEADER)]
    in_use = int.from_bytes(header[_VERSION_AT:]) in range(1, _IN_USE + 1, 2)  # in any form up to ours
    if not start:
        try:
            has_log = os.path.getsize(f"{path}-wal") > 0
        except OSError:
            has_log = False
        if has_log:
            raise ConfigurationError(damage(path, "it is empty, but has a log"))
    elif start != _HEADER:
        cut = _HEADER.startswith(start)
        raise ConfigurationError(damage(path, "it is truncated") if cut else _foreign(path))
    elif in_use and not os.path.exists(f"{path}-wal") and not os.path.exists(mark_of(path)):
        raise ConfigurationError(damage(path, "its -wal file is missing"))


def _connected(path: str, home: Home) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigurationError(trouble(path, error)) from None
    try:
        _prepare(connection, path, home)
        return connection
    except sqlite3.Error as error:
        connection.close()
        reason = trouble(path, error)
    except UnicodeDecodeError:  # SQLite's message quotes a damaged page
        connection.close()
        reason = damage(path, "a page is damaged")
    except BaseException:
        connection.close()
        raise
    raise ConfigurationError(reason)


def _prepare(connection: sqlite3.Connection, path: str, home: Home) -> None:
    """Lock the file for this process, however the process ends, and create the table.

    Another program's database is not changed. With `synchronous = FULL` an entry survives a power cut, not only
    a killed process.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    made_by = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if made_by != _OURS and tables:
        raise ConfigurationError(_foreign(path))
    if (form := 1 + connection.execute("PRAGMA user_version").fetchone()[0] // 2) > FORM and tables:
        raise ConfigurationError(_of_later(connection, path, form))
    damaged = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]  # damage could hide entries
    connection.execute("COMMIT")
    if damaged != "ok":
        raise ConfigurationError(damage(path, " ".join(damaged.split())))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN")
    connection.execute(_TABLE)
    connection.execute(_FACTS)
    if home is not None:
        _settle(connection, path, home)
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('written_by', ?)", [__version__])
    connection.execute(f"PRAGMA application_id = {_OURS}")
    connection.execute(f"PRAGMA user_version = {_IN_USE}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # into the main file


def _settle(connection: sqlite3.Connection, path: str, home: tuple[str, str]) -> None:
    """Record the server of the journal, unless it has one. Raises `ConfigurationError` if that is another one."""
    facts = zip(("service", "server"), home, strict=True)
    connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts)
    (written,) = connection.execute(
        "SELECT a.value, b.value FROM facts a, facts b WHERE a.name = 'service' AND b.name = 'server'"
    )
    if written != home:
        was, now = (f"{service} at {elided(server, 100)}" for service, server in (written, home))
        forget = "DELETE FROM facts WHERE name = 'server'"
        raise ConfigurationError(
            f"the journal {shown(path)} is of {was}, but this client uses {now}: use a client of that server, or "
            "a new journal. If that server has moved, let the journal forget its address: "
            f'sqlite3 {shown(path)} "{forget}"'
        )


def _of_later(connection: sqlite3.Connection, path: str, form: int) -> str:
    try:
        (by,) = connection.execute("SELECT value FROM facts WHERE name = 'written_by'").fetchone()
    except (sqlite3.Error, TypeError):  # another form may lack it
        by = "of a later version"
    return (
        f"the journal {shown(path)} was written by lume-client {str(by)[:40]}, in form {form} of journals; this is "
        f"lume-client {__version__}, which uses form {FORM}: finish with the version that wrote it"
    )


def _foreign(path: str) -> str:
    return f"{shown(path)} is not a journal of this library: use another file"


class Mark:
    """The number of entries in a file of its own, written after each entry and not synced: shows lost ones.

    SQLite reads a truncated or damaged log (`-wal`) up to that point: the log itself does not record its length.

    After a kill, the journal has this number of entries, or one more. After a power cut, the mark may have reached
    the disk before entries, which then really are missing.
    """

    def __init__(self, path: str, file: int) -> None:
        self._path = path
        self._file = file  # not a file object, which warns if a program ends without closing it
        said = os.read(file, _CHECKED)
        intact = said[_LENGTH:] == zlib.crc32(said[:_LENGTH]).to_bytes(4)
        self.count = int.from_bytes(said[:_LENGTH]) if intact else 0
        """The number of entries; 0 if the mark is new or damaged."""

    @classmethod
    def open(cls, journal: str) -> Self:
        """Open the journal's mark, or create a new one. Raises `OSError` if it can't be written."""
        path = mark_of(journal)
        return cls(path, os.open(path, os.O_RDWR | os.O_CREAT | BINARY, 0o666))

    def set(self, count: int) -> None:
        """Write the number of entries. Raises `OSError` if it can't be written."""
        said = count.to_bytes(_LENGTH)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, said + zlib.crc32(said).to_bytes(4))
        self.count = count

    def close(self, *, remove: bool) -> None:
        """Close the file, and remove it if the journal was closed completely."""
        os.close(self._file)
        if remove:
            # Another process may have opened the journal meanwhile: then it is removed, or can't be on Windows.
            with suppress(FileNotFoundError, PermissionError):
                os.unlink(self._path)


def mark_of(journal: str) -> str:
    """Return the path of a journal's mark."""
    return f"{journal}-mark"
