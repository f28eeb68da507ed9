"""Moves a processed file so that a kill at any step loses nothing, and nothing is overwritten.

First, `rename` gives the file a unique name in the new folder in one step, so that it can be checked undisturbed.
Then a link gives it its final name; linking fails if the name is taken. An interrupted move is found by the unique
name.
"""

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lume_local._arrivals.names import numbered
from lume_local._shared import no_links
from lume_local._shared.commit import sync_folder
from lume_local._shared.identity import hash_of

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
"""Errors of `link` on file systems without hard links."""


def put_aside(path: Path, target: Path, seen: str, seen_of: Callable[[os.stat_result], str]) -> str | None:
    """Move a file if it still matches `seen`; return its name in the target's folder. Raises OSError.

    None if it is gone or has been replaced; a replacement stays.
    """
    own = target.parent / f".{hash_of([str(path), seen])[:32]}.lume"
    if not no_links.exists(own):
        try:
            if not _is_same(no_links.stat(path), seen, seen_of):
                return None
            with no_links.parent(target, make=True):
                pass
            no_links.replace(path, own)
        except (FileNotFoundError, no_links.Relinked):
            return None
    if not _is_same(no_links.stat(own), seen, seen_of):  # replaced between the two calls above
        with suppress(FileExistsError):
            no_links.link(own, path)
        no_links.unlink(own)
        return None
    name = _named(own, target)
    no_links.unlink(own)
    sync_folder(target.parent)
    return name


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


def _is_same(found: os.stat_result, seen: str, seen_of: Callable[[os.stat_result], str]) -> bool:
    """Compare versions without the change time, which a rename changes."""
    return seen_of(found).split("-")[:3] == seen.split("-")[:3]


def _named(own: Path, target: Path) -> str:
    """Link the file to the target's name, or a similar one if that is taken."""
    number = 1
    while True:
        path = Path(numbered(str(target), number))
        try:
            no_links.link(own, path)
        except FileExistsError:
            if os.path.samestat(no_links.stat(own), no_links.stat(path)):
                return path.name  # killed after this step
            number += 1
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _renamed(own, target)
        else:
            return path.name


def _renamed(own: Path, target: Path) -> str:
    """Rename without links: an empty file reserves the name and is then replaced."""
    number = 1
    while True:
        path = Path(numbered(str(target), number))
        with no_links.parent(path) as (folder, name):
            try:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder))
            except FileExistsError:
                number += 1
                continue
        no_links.replace(own, path)
        return path.name
