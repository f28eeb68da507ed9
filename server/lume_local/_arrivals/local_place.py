"""A folder on this machine, or mounted here. Links are followed once, when they are checked.

Its notifications come through watchfiles, where those of its file system are reliable.
"""

import errno
import fcntl
import hashlib
import os
import posixpath
import signal
import stat as modes
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio.to_thread import run_sync

from lume_async._base.controls import control_in
from lume_local._arrivals.place import ArrivalEntry, Found, ListedPlace, PlaceTrouble, in_thread, put_aside
from lume_local._arrivals.settings import Arrival
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._shared import no_links
from lume_local._shared.commit import sync_folder
from lume_local._shared.folders import REMOTE, file_system

if TYPE_CHECKING:
    from watchfiles.main import FileChange


_STEP, _GROUPED = 100, 500
"""Milliseconds: to the next change of a burst, and for the whole burst."""
_CHECKED = 50
"""Steps without a change between two checks whether the folder is still the same."""
_STARTS = 50
"""Attempts to start; each takes a step unless it fails for good."""


class WatchedFolder:
    """A watched folder, with its subfolders if `is_deep`. Close it after `stopped` is set.

    Attributes:
        why_not: why there are no notifications; empty if there are.

    Raises:
        PlaceTrouble: there is no such folder.
    """

    def __init__(self, folder: Path, is_deep: bool, stopped: threading.Event) -> None:
        self._folder, self._is_deep, self._stopped = folder, is_deep, stopped
        # A thread of its own: `awatch` would occupy one of the pool that all arrivals share.
        self._thread = anyio.CapacityLimiter(1)
        self._groups: Generator[set[FileChange], None, None] | None = None
        self._early: set[FileChange] = set()
        self._watched: os.stat_result | None = None
        self.why_not = ""
        kind = file_system(folder)
        if kind in REMOTE or kind.startswith("fuse"):
            self.why_not = f"{kind} has no notifications of what others write"
            return
        try:
            self._start()
        except (OSError, RuntimeError) as error:
            is_full = f"os error {errno.EMFILE}" in str(
                error
            )  # watchfiles reports the number only in its text
            limit = "max_user_instances, or ulimit -n" if is_full else "max_user_watches"
            self.why_not, self._groups = f"it can't be watched ({error}); raise fs.inotify.{limit}", None

    def _start(self) -> None:
        """Start the notifications; nothing is missed afterwards. Raises `PlaceTrouble`, OSError or RuntimeError."""
        for left in reversed(range(_STARTS)):
            self.close()
            try:
                self._watched = os.stat(self._folder)
                self._groups = self._watch()
                self._early = next(self._groups, set())
            except FileNotFoundError:
                raise PlaceTrouble(f"there is no folder {self._folder}: make it") from None
            except RuntimeError:  # perhaps a name that is not UTF-8, which ends them
                if not left:
                    raise
            else:
                return

    def _watch(self) -> "Generator[set[FileChange], None, None]":
        from watchfiles import watch

        return watch(
            self._folder,
            watch_filter=None,
            debounce=_GROUPED,
            step=_STEP,
            stop_event=self._stopped,
            rust_timeout=1,  # an empty group after each step, so that the first one comes at once
            yield_on_timeout=True,
            debug=False,
            force_polling=False,
            recursive=self._is_deep,
            ignore_permission_denied=True,
        )

    async def changes(self) -> AsyncGenerator[Sequence[str], None]:
        """Yield changed paths in groups, each once; end at once if there are no notifications.

        The folder itself stands for everything in it. Raises `PlaceTrouble`.
        """
        while self._groups is not None and not self._stopped.is_set():
            if paths := await run_sync(
                self._next, self._groups, limiter=self._thread, abandon_on_cancel=True
            ):
                yield paths

    def _next(self, groups: "Generator[set[FileChange], None, None]") -> Sequence[str]:
        """Return the next changed paths, if there are any soon; the folder itself if watching has restarted."""
        from watchfiles import Change

        changes, self._early = self._early, set()
        try:
            changes = changes or next(filter(None, islice(groups, _CHECKED)), set())
            is_same = (Change.deleted, str(self._folder)) not in changes and self._is_same()
        except RuntimeError:  # a name that is not UTF-8, which would block all later changes
            is_same = False
        if is_same or self._stopped.is_set():
            return sorted({path for _, path in changes})
        self._start()
        return [str(self._folder)]

    def _is_same(self) -> bool:
        """Return whether the folder is still the watched one; after a removal, a new folder may have its inode."""
        try:
            found = os.stat(self._folder)
        except OSError:
            return False
        return self._watched is not None and os.path.samestat(found, self._watched)

    def close(self) -> None:
        if self._groups is not None:
            with suppress(ValueError):  # its thread still runs, and ends by itself
                self._groups.close()


_Folder: TypeAlias = tuple[Path, str]
"""A folder, and its path relative to the watched one, ending with a slash."""

POLL = 10.0
"""Seconds between listings of a folder without notifications."""
CHECK = 60.0
"""Seconds between listings of a folder with notifications: if very many come at once, some may be lost."""
_PAUSE_RATIO = {True: 300, False: 20}
"""Minimum pause after a listing, as a multiple of its duration, with and without notifications."""
_BLOCK = 4 * 1024 * 1024
"""Bytes to read at a time for a digest."""
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
"""Errors of `link` on file systems without hard links."""


@asynccontextmanager
async def open_folder(arrival: Arrival, roots: Roots) -> AsyncIterator["LocalPlace"]:
    """Yield the folder. Raises `PlaceTrouble`."""
    try:
        folder = roots.source(arrival.folder or ".")
    except PathRefused as error:
        raise PlaceTrouble(str(error)) from None
    if not await run_sync(os.path.isdir, folder):
        raise PlaceTrouble(f"there is no folder {folder}: create it")
    stopped, is_deep = threading.Event(), "/" in arrival.pattern or "**" in arrival.pattern
    # Watching starts before the first listing, so that no later change is missed.
    watched = await run_sync(WatchedFolder, folder, is_deep, stopped)
    try:
        yield LocalPlace(arrival, roots, folder, watched, stopped)
    finally:
        stopped.set()
        watched.close()


class LocalPlace(ListedPlace):
    """See `ArrivalPlace`. Create it with `open_folder`."""

    def __init__(
        self, arrival: Arrival, roots: Roots, folder: Path, watched: WatchedFolder, stopped: threading.Event
    ) -> None:
        super().__init__(arrival, arrival.folder if arrival.folder in ("", "/") else f"{arrival.folder}/")
        self._roots, self._folder, self._stopped, self._notified = roots, folder, stopped, watched

    @property
    def watched(self) -> str:
        why = self._notified.why_not
        return f"a listing every {self.every:.0f} s: {why}" if why else "inotify"

    @property
    def every(self) -> float:
        is_notified = not self._notified.why_not
        return max(CHECK if is_notified else POLL, _PAUSE_RATIO[is_notified] * self._took)

    # -- listing

    def pages(self) -> AsyncGenerator[Sequence[ArrivalEntry], None]:
        return self._paged(self._walk(self._folder, ""), in_thread)

    def _walk(self, folder: Path, below: str) -> Generator[ArrivalEntry, None, None]:
        """Yield the matching files below a folder; `below` is its path relative to the watched one."""
        folders = [(folder, below)]  # no recursion: anybody may nest folders deeply
        while folders:
            yield from self._listed(*folders.pop(), folders)

    def _listed(self, folder: Path, below: str, folders: list[_Folder]) -> Iterator[ArrivalEntry]:
        """Yield the matching files in a folder itself; add subfolders that may contain matches to `folders`."""
        try:
            with no_links.folder(folder) as handle, os.scandir(handle) as entries:
                for entry in entries:
                    relative = f"{below}{entry.name}"
                    if self._stopped.is_set() or self._is_left_out(relative):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if self._pattern.leads_on(relative):
                            folders.append((folder / entry.name, f"{relative}/"))
                    elif entry.is_symlink():
                        yield from self._linked(relative, folders)
                    elif self._pattern.matches(relative) and (found := self._entry(relative, entry.stat)):
                        yield found
        except (FileNotFoundError, NotADirectoryError):
            if not below:
                raise PlaceTrouble(f"there is no folder {folder}: create it") from None
        except OSError as error:
            why = f"can't be read: {error.strerror or error}"
            if not below:
                raise PlaceTrouble(f"the folder {folder} {why}") from None
            problem = f"this folder {why}: let the server read it, or change from"
            yield ArrivalEntry(_shown(self._path(below.rstrip("/"))), "folder", 0, 0.0, problem)

    def _linked(self, relative: str, folders: list[_Folder]) -> Iterator[ArrivalEntry]:
        """Yield the target of a symbolic link, which must be in the roots."""
        may_match = self._pattern.matches(relative)
        leads_on = self._pattern.leads_on(relative) and "**" not in self._arrival.pattern
        if not (may_match or leads_on):
            return
        try:
            real = self._roots.source(self._path(relative))
            if os.path.isdir(real):
                if leads_on:
                    folders.append((real, f"{relative}/"))
            elif may_match and (found := self._entry(relative, lambda **_: no_links.stat(real))):
                yield found
        except PathRefused as error:
            yield ArrivalEntry(_shown(self._path(relative)), "link", 0, 0.0, f"it is a link: {error}")

    def _entry(self, relative: str, stat: Callable[..., os.stat_result]) -> ArrivalEntry | None:
        """Return a file; None if it has disappeared."""
        try:
            found = stat(follow_symlinks=False)
        except OSError:
            return None
        path, problem = self._path(relative), ""
        if not modes.S_ISREG(found.st_mode):
            problem = "it is not a regular file: put a file there that can be read twice"
        elif not _is_text(path):
            path, problem = _shown(path), "its name is not UTF-8: rename it"
        elif control_in(path):
            problem = "its name has a control character: rename it"
        return ArrivalEntry(path, self._seen(found), found.st_size, found.st_mtime, problem)

    def _seen(self, found: os.stat_result) -> str:
        """Return size and time; with notifications (local file systems only), also inode and change time."""
        seen = f"{found.st_size}-{found.st_mtime_ns}"
        return seen if self._notified.why_not else f"{seen}-{found.st_ino}-{found.st_ctime_ns}"

    # -- files

    async def look(self, paths: Sequence[str]) -> Sequence[ArrivalEntry | None]:
        return await in_thread(lambda: [self._look(path) for path in paths])

    def _look(self, path: str) -> ArrivalEntry | None:
        if (relative := self._wanted(path)) is None:
            return None
        real = self._folder / relative
        try:
            is_folder = modes.S_ISDIR(no_links.stat(real).st_mode)
        except no_links.Relinked:
            return next(self._linked(relative, []), None)
        except OSError:
            return None
        return None if is_folder else self._entry(relative, lambda **_: no_links.stat(real))

    async def contents(self, entries: Sequence[ArrivalEntry]) -> Sequence[bytes | PlaceTrouble | None]:
        return await in_thread(lambda: [self._content(entry) for entry in entries])

    def _content(self, entry: ArrivalEntry) -> bytes | PlaceTrouble | None:
        try:
            handle = no_links.open(self._roots.source(entry.path), os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except (OSError, PathRefused) as error:
            return PlaceTrouble(f"{entry.path} can't be read: {getattr(error, 'strerror', None) or error}")
        with open(handle, "rb", buffering=0) as file:
            if self._seen(os.fstat(handle)) != entry.seen:
                return None
            digest = hashlib.sha256()
            try:
                while block := file.read(_BLOCK):
                    if self._stopped.is_set():
                        return None
                    digest.update(block)
            except OSError as error:
                return PlaceTrouble(f"{entry.path} can't be read: {error.strerror or error}")
            return digest.digest() if self._seen(os.fstat(handle)) == entry.seen else None

    async def exist(self, paths: Sequence[str]) -> Sequence[float | None]:
        def written(path: str) -> float | None:
            try:
                return no_links.stat(self._roots.source(path)).st_mtime
            except (OSError, PathRefused):
                return None

        return await in_thread(lambda: [written(path) for path in paths])

    async def move(self, entry: ArrivalEntry, to: str) -> str | None:
        relative, target_relative = self._relative(entry.path), self._relative(to)
        if relative is None or target_relative is None:
            return None

        path, target = self._folder / relative, self._folder / target_relative
        try:
            if not self._notified.why_not and await in_thread(lambda: is_open_for_writing(path)):
                why = "a program has it open for writing: it is moved once it was closed"
                raise PlaceTrouble(f"{entry.path} can't be moved yet: {why}")
            key = str(path), entry.seen
            name = await put_aside(LocalMoves(self._seen), str(path), str(target), _kept(entry.seen), key)
        except NotADirectoryError:
            wrong = entry.path.removesuffix(relative) + self._in_the_way(target)
            raise PlaceTrouble(f"{entry.path} can't be moved: {wrong} is a file, not a folder") from None
        except OSError as error:
            raise PlaceTrouble(f"{entry.path} can't be moved: {error.strerror or error}") from None
        return None if name is None else posixpath.join(posixpath.dirname(to), name)

    def _in_the_way(self, target: Path) -> str:
        """Return the file where the target's path needs a folder."""
        return os.path.relpath(next(one for one in target.parents if os.path.lexists(one)), self._folder)

    # -- hints

    async def hints(self, found: Found) -> None:
        async with aclosing(self._notified.changes()) as changes:
            async for paths in changes:
                if named := await in_thread(partial(self._named_by, paths)):
                    await found(named)
                if str(self._folder) in paths:
                    await found([])
                    await anyio.sleep(_PAUSE_RATIO[False] * self._took)

    def _named_by(self, changed: Sequence[str]) -> Sequence[str]:
        """Return the paths that notifications are about; a folder stands for all files below it."""
        named: list[str] = []
        for path in changed:
            relative = os.path.relpath(path, self._folder)
            if relative == "." or relative.startswith(".."):
                continue
            folder = self._folder / relative
            if not folder.is_dir() or folder.is_symlink():
                named.append(self._path(relative))
            elif not self._is_left_out(relative) and self._pattern.leads_on(relative):
                named += [entry.path for entry in self._walk(folder, f"{relative}/")]
        return named


class LocalMoves:
    """See `Moves`. All raise OSError.

    Args:
        seen_of: returns a version; that of a moved file lacks its change time, which a rename changes.
    """

    def __init__(self, seen_of: Callable[[os.stat_result], str]) -> None:
        self._seen_of = seen_of

    async def seen(self, path: str) -> str | None:
        try:
            return _kept(self._seen_of(await in_thread(lambda: no_links.stat(Path(path)))))
        except (FileNotFoundError, NotADirectoryError, no_links.Relinked):
            return None

    async def take(self, path: str, own: str) -> bool:
        def taken() -> bool:
            with no_links.parent(Path(own), make=True):
                pass
            try:
                no_links.replace(Path(path), Path(own))
            except FileNotFoundError:
                return False
            return True

        return await in_thread(taken)

    async def name(self, own: str, path: str) -> bool:
        return await in_thread(lambda: _named(Path(own), Path(path)))

    async def remove(self, own: str) -> None:
        await in_thread(lambda: no_links.unlink(Path(own)))


def _kept(seen: str) -> str:
    return "-".join(seen.split("-")[:3])


def _named(own: Path, path: Path) -> bool:
    """Rename a file unless the name is taken: by a link, as linking never replaces a file. Raises OSError."""
    try:
        no_links.link(own, path)
    except FileExistsError:
        if not os.path.samestat(no_links.stat(own), no_links.stat(path)):
            return False  # else killed after this step
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # An empty file reserves the name, and is then replaced.
        try:
            os.close(no_links.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        no_links.replace(own, path)
    no_links.unlink(own)
    sync_folder(path.parent)
    return True


def is_open_for_writing(path: Path) -> bool:
    """Return whether a program may still write to a file: after a move, nobody would read what it writes.

    A lease for reading is granted only if the file is not open for writing. On Linux, the owner of a file can get
    one; False if this is unknown.
    """
    try:
        handle = no_links.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # The default signal to the holder of a lease would end the process.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError) as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(handle)
    return False


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: str) -> str:
    """Return a path as text, whatever bytes its name contains."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
