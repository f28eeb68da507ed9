"""Backups of a data folder, which a server may be using, and their restoration as another data folder.

A backup is a folder: `backup.json`, `state/runs.sqlite`, `state/values/`, `uploads/` and, on request, `outputs/` with
the outputs of runs below the data folder. It is complete or does not exist. `SHA256SUMS` has the checksums of all its
files: a backup with an altered or missing file is not restored. It contains no key: the server's own key
(`state/server.json`) is left out, as are the folders of active runs. Webhook URLs, in the state, may be secrets.

A backup may be an attack on whoever restores it: it is refused if it contains a name that no backup has, or anything
but files and folders.
"""

import errno
import getpass
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import asdict, define, field, frozen

from lume_async._base import arguments
from lume_async._base.elided import elided
from lume_async._base.version import __version__
from lume_async._base.words import counted
from lume_async.errors import ConfigurationError
from lume_local._runs.backup_notes import note_backup
from lume_local._runs.sources.work import belongs
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.sqlite.copies import (
    CopyError,
    copied,
    copied_values,
    examined,
    has_arrivals,
    move,
    move_values,
    outputs_in,
    store_id_of,
)
from lume_local._runs.sqlite.state_file import STATE_FILE
from lume_local._runs.store.audit import RESTORE, Act
from lume_local._runs.times import now_text
from lume_local._serve.options import AnyPath
from lume_local._shared import checksums, no_links
from lume_local._shared.commit import explain, sync_file, sync_folder, write_durably
from lume_local._shared.folders import MANIFEST, named_in

_ABOUT = "backup.json"
_STATE, _UPLOADS, _OUTPUTS = "state", "uploads", "outputs"
_VALUES = "values"
_KEPT = (_STATE, _UPLOADS, ".runs")
"""Folders of a data folder that can't contain outputs."""
_MOST_NAMED = 3
"""The maximum of harmed files that a message names; the log names all."""
_log = logging.getLogger("lume_local")


@frozen(kw_only=True)
class Backup:
    """The facts about a backup, which its `backup.json` has, too.

    Attributes:
        made_at: the time of its state, in UTC.
        release: the version of lume-client that made it.
        form: the form of the state. A later release can restore it, an earlier one with another form can't.
        data: the data folder that was backed up.
        runs: the number of all runs.
        active: how many of them were being executed. The next server ends them: they are CRASHED.
        waiting: how many had not begun. The next server executes them.
        uploads: the number of uploads.
        outputs: the number of files that runs have written; None if they were not requested.
        files: the number of all files, except those that describe the backup.
        bytes: the total size of the files.
    """

    made_at: str
    release: str
    form: int
    data: str
    runs: int
    active: int
    waiting: int
    uploads: int
    outputs: int | None
    files: int
    bytes: int


def back_up(data: AnyPath, to: AnyPath, *, outputs: bool = False, state: AnyPath | None = None) -> Backup:
    """Copy the state and the uploads of a data folder, whether a server uses it or not. Blocks.

    Args:
        data: the data folder of a server.
        to: the new folder for the backup, outside of `data`.
        outputs: also copy the files that runs have written below `data`; outputs in other folders, databases and
            object stores are never copied.

        state: the folder of the state, by default `data`/state.

    Raises:
        ConfigurationError: `data` has no state, or a damaged one; `to` exists or can't be written. Nothing is left.
    """
    home, copy = _real(data, "data"), _real(to, "to")
    own = home / _STATE if state is None else _real(state, "state")
    try:
        is_there = (own / STATE_FILE).is_file()
    except OSError as error:
        raise ConfigurationError(f"the state can't be read: {explain(error)}") from None
    if not is_there:
        what = "data folder of a server: it has no" if state is None else "state of a server: it has no"
        missing = (
            f"{_STATE}/{STATE_FILE} (a state elsewhere is named as state)" if state is None else STATE_FILE
        )
        raise ConfigurationError(
            f"{home if state is None else own} is not the {what} {missing}. A state in PostgreSQL (state_env) is "
            f"backed up by pg_dump --schema=lume, and then a copy of {home}"
        )
    if copy.is_relative_to(home) or copy.is_relative_to(own):
        raise ConfigurationError(f"{copy} is in the data folder {home}: a backup belongs elsewhere")
    if os.path.lexists(copy):
        raise ConfigurationError(f"{copy} exists: each backup needs a new folder")
    with _new(copy, f"{home} can't be backed up to {copy}") as draft:
        into, files = draft / _STATE / STATE_FILE, _Files(draft)
        into.parent.mkdir(mode=0o700)
        made_at = now_text()
        found = copied(own / STATE_FILE, into)
        if not belongs(home, own, store_id_of(into)):
            raise CopyError(
                f"it is not the data folder of the state in {own}, whose uploads and outputs would be missing: name "
                "the folder that its server uses as work, or as data if it has no work"
            )
        for file in (into, *copied_values(own / _VALUES, draft / _STATE / _VALUES)):
            sync_file(file)
            files.add(file)
        # After the state, so that the uploads of its runs exist.
        uploads = _copy_uploads(home / _UPLOADS, draft / _UPLOADS, files)
        about = Backup(
            made_at=made_at,
            release=__version__,
            data=str(home),
            **asdict(found),
            uploads=uploads,
            outputs=_copy_outputs(into, home, draft / _OUTPUTS, files) if outputs else None,
            files=len(files.digests),
            bytes=files.bytes,
        )
        write_durably(draft / _ABOUT, f"{json.dumps(asdict(about), indent=2)}\n".encode())
        for name in files.digests:
            _place(name)
        files.add(draft / _ABOUT)
        write_durably(draft / checksums.SUMS, checksums.written(files.digests))
    _note(own, copy, about)
    return about


def restore(backup: AnyPath, data: AnyPath) -> Backup:
    """Make a backup the data folder of a new server. Blocks.

    Runs, rows and outputs are found in the new place, even under another path. Everything after the backup is
    lost: sources processed later count as new.

    Args:
        backup: a folder that `back_up` has made. It stays as it is.
        data: the new data folder, which must not exist or be empty.

    Raises:
        ConfigurationError: a file of the backup was altered, is missing or does not belong to a backup (each is
            logged); it is of a later release; `data` is not empty or can't be written. Nothing is left.
    """
    copy, home = _real(backup, "backup"), _real(data, "data")
    about, digests = _about(copy)
    if home.is_relative_to(copy):
        raise ConfigurationError(
            f"{home} is in the backup {copy}, which stays as it is: name a folder elsewhere"
        )
    if os.path.ismount(home):
        raise ConfigurationError(f"{home} is a mount point: name a new folder in it")
    if os.path.lexists(home) and not (home.is_dir() and not any(home.iterdir())):
        what = "is not empty" if home.is_dir() else "is not a folder"
        raise ConfigurationError(f"{home} {what}: a backup is restored to a new folder")
    failed = f"the backup {copy} can't be restored to {home}"
    with _explained(failed):
        _refuse_harmed(copy, _strange(copy, digests))
    with _new(home, failed) as draft:
        (draft / _STATE).mkdir(mode=0o700)
        _refuse_harmed(copy, _harms(copy, draft, digests))
        examined(draft / _STATE / STATE_FILE)
        _move_state(draft / _STATE, about, home)
        # Many tools that move backups round or lose the times that identify outputs.
        places = {str(home / _place(name)): draft / _place(name) for name in digests if name != _ABOUT}
        for location, noted in outputs_in(draft / _STATE / STATE_FILE):
            size, _, modified = noted.partition("-")
            if location in places and modified.isdecimal():
                found = no_links.stat(places[location])
                if found.st_size == int(size):
                    os.utime(places[location], ns=(found.st_atime_ns, int(modified)))
    if has_arrivals(home / _STATE / STATE_FILE):
        _log.warning(
            "files that arrived after %s and were moved since (after = { move = … }) are not known: move them back, "
            "and they are submitted",
            about.made_at,
        )
    _note(home / _STATE, copy, about)
    return about


def _note(state: Path, copy: Path, about: Backup) -> None:
    try:
        note_backup(state, copy, about.made_at)
    except OSError as error:
        _log.warning("`lume forget` will not list %s, as this can't be noted: %s", copy, explain(error))


def _strange(copy: Path, digests: Mapping[str, str]) -> Iterator[str]:
    """Yield the problems of files that don't belong to a backup. Raises OSError."""
    for name in digests.keys() - {_ABOUT}:
        try:
            _place(name)
        except CopyError as error:
            yield str(error)
    for inside, folders, files in os.walk(copy, onerror=_refuse):
        for path in (Path(inside, name) for name in (*folders, *files)):
            name, mode = str(path.relative_to(copy)), path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield f"{elided(name)} is neither a file nor a folder"
            elif stat.S_ISREG(mode) and name not in digests and name != checksums.SUMS:
                yield f"{elided(name)} was added"


def _place(name: str) -> str:
    """Return a file's place in a data folder. Pure. Raises `CopyError` for a name that no backup has."""
    parts = PurePosixPath(name).parts
    if str(PurePosixPath(name)) == name and ".." not in parts and "\0" not in name:
        match parts:
            case ("state", "runs.sqlite"):
                return name
            case ("state", "values", file) if file.endswith(".sqlite"):
                return name
            case ("uploads", *_, file) if not file.startswith("."):
                return name
            case ("outputs", first, *_) if first.casefold() not in _KEPT:
                return name.removeprefix("outputs/")
    raise CopyError(f"{elided(name)} is not a file of a backup")


def _refuse_harmed(copy: Path, harms: Iterable[str]) -> None:
    """Log all harms to a backup. Raises `CopyError` if there are any."""
    harmed = list(harms)
    for one in harmed:
        _log.error("the backup %s: %s", copy, one)
    if harmed:
        more = f", and {len(harmed) - _MOST_NAMED:,} more" if len(harmed) > _MOST_NAMED else ""
        raise CopyError(
            f"it is not as it was made: {', '.join(harmed[:_MOST_NAMED])}{more}. Use another backup"
        )


def _harms(copy: Path, draft: Path, digests: Mapping[str, str]) -> Iterator[str]:
    """Copy the files of a backup to their places in a data folder; yield the harms found. Raises OSError."""
    for name, digest in digests.items():
        if name == _ABOUT:
            found: str | None = checksums.digest_of(copy / name)
        else:
            found = checksums.copied(copy / name, draft / _place(name))
        if found != digest:
            yield f"{elided(name)} {'is missing' if found is None else 'was altered'}"


def _move_state(folder: Path, about: Backup, new: Path) -> None:
    state, values, old = folder / STATE_FILE, sorted((folder / _VALUES).glob("*.sqlite")), Path(about.data)
    try:  # no key is needed to restore
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    act = Act(f"user {user}", RESTORE, str(new), {"made_at": about.made_at, "data": about.data})
    move(state, old, new, act)
    for file in values:
        move_values(file, state, old, new)
    for file in (state, *values):
        sync_file(file)


def _about(copy: Path) -> tuple[Backup, dict[str, str]]:
    """Return a backup's description, and the checksums of its files. Raises `ConfigurationError`."""
    name = _ABOUT
    try:
        found: dict[str, Any] = json.loads(_content(copy / name))
        about = Backup(**{name: found[name] for name in Backup.__annotations__})
        if about.form > VERSION:
            raise ConfigurationError(
                f"{copy} is of lume-client {about.release}, in form {about.form} of the state; this is lume-client "
                f"{__version__}, which uses form {VERSION}: restore it with the release that made it"
            )
        name = checksums.SUMS
        digests = checksums.read(_content(copy / name))
        if len(digests) - 1 == about.files:  # SHA256SUMS also lists `backup.json`
            return about, digests
        why = f"{name} has {counted(len(digests) - 1, 'file')}, and {about.files:,} were backed up"
    except OSError as error:
        why = f"{name} can't be read: {explain(error)}"
    except (ValueError, LookupError, TypeError):
        why = f"{name} is damaged"
    raise ConfigurationError(f"{copy} is not a backup of lume: {why}")


def _content(path: Path) -> bytes:
    """Return the content of a file. Raises OSError, even for a FIFO, which would block."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    return path.read_bytes()


@contextmanager
def _new(folder: Path, failed: str) -> Iterator[Path]:
    """Yield a draft of a folder; put it in place after a block without errors. Raises `ConfigurationError`."""
    with _explained(failed):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".draft", dir=folder.parent))
        try:
            yield draft
            for inside, _, _ in os.walk(draft):
                sync_folder(Path(inside))
            os.rename(draft, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _explained(failed: str) -> Iterator[None]:
    """Raise errors as `ConfigurationError`."""
    try:
        yield
    except CopyError as error:
        raise ConfigurationError(f"{failed}: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{failed}: {explain(error)}") from None


def _copy_uploads(folder: Path, to: Path, files: "_Files") -> int:
    """Copy the complete uploads; return how many. Raises OSError."""
    copied = 0
    for inside, _, names in os.walk(folder, onerror=_refuse):
        for name in names:
            path = Path(inside, name)
            copied += not name.startswith(".") and files.copy(path, to / path.relative_to(folder))
    return copied


def _copy_outputs(state: Path, home: Path, to: Path, files: "_Files") -> int:
    """Copy the outputs below the data folder that are unchanged since their runs; return how many files."""
    copied = 0
    for location, noted in outputs_in(state):
        path = Path(location)
        if not path.is_relative_to(home) or (to / path.relative_to(home)).exists():
            continue
        if files.copy(path, to / path.relative_to(home), noted):
            copied += 1
            copied += sum(files.copy(part, to / part.relative_to(home)) for part in _parts(path))
    places = sorted(one.relative_to(home) for one in home.rglob("[!.]*") if not one.is_dir())
    left = [str(one) for one in places if one.parts[0].casefold() not in _KEPT]
    left = [one for one in left if f"{_OUTPUTS}/{one}" not in files.digests]
    if left:
        named = ", ".join([*map(elided, left[:_MOST_NAMED]), *["…"] * (len(left) > _MOST_NAMED)])
        left_out = counted(len(left), "file")
        _log.warning("not in the backup, as no run wrote it like that: %s in %s: %s", left_out, home, named)
    return copied


def _parts(path: Path) -> list[Path]:
    """Return the parts that a manifest names; none for any other file."""
    with suppress(OSError, ValueError):  # a later run has just replaced it
        if path.name == MANIFEST:
            return [path.with_name(name) for name in named_in(path) if Path(name).name == name]
    return []


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@define
class _Files:
    """The files of a folder, recorded as they are copied, with their checksums by relative path."""

    folder: Path
    digests: dict[str, str] = field(factory=dict)
    bytes: int = 0

    def add(self, file: Path, digest: str | None = None) -> None:
        """Record an existing file. Raises OSError."""
        self.digests[str(file.relative_to(self.folder))] = digest or checksums.digest_of(file)
        self.bytes += file.stat().st_size

    def copy(self, path: Path, to: Path, noted: str | None = None) -> bool:
        """Copy a file; return False if it is gone, or its identity is not the `noted` one. Raises OSError."""
        digest = checksums.copied(path, to, noted)
        if digest is not None:
            self.add(to, digest)
        return digest is not None


def _real(path: AnyPath, name: str) -> Path:
    return Path(os.path.realpath(arguments.path(path, name, ConfigurationError)))
