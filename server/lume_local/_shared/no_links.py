"""The calls of `os` that the server needs, on paths in which no part may be a symbolic link.

The server follows links once, when it decides whether a path lies in its roots (`_runs/sources/paths`), and uses only
the real path from then on. Anybody who may write to a root can put a link into that path later. These calls walk down
from `/`, one folder at a time, and follow no links, so they reach the file that the server has checked.
"""

import errno
import os
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# With `O_PATH`, folders on the way need not be readable, as usual for paths.
_ON_THE_WAY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Relinked(OSError):
    """A part of a path has become a symbolic link since the path was checked."""

    def __init__(self, path: Path, part: Path) -> None:
        what = "it" if part == path else str(part)
        super().__init__(
            errno.ELOOP, f"{what} became a symbolic link after the server had checked the path", str(path)
        )


@contextmanager
def parent(path: Path, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the folder of an absolute path, as a descriptor for `dir_fd`, and the name in it.

    `make` creates missing folders. Raises OSError.
    """
    root, *folders, name = path.parts
    handle = os.open(root, _ON_THE_WAY)
    try:
        for depth, folder in enumerate(folders, 2):
            try:
                below = os.open(folder, _ON_THE_WAY, dir_fd=handle)
            except OSError as error:
                at = Path(*path.parts[:depth])
                if not (make and isinstance(error, FileNotFoundError)):
                    raise _full_error(error, handle, folder, path, at) from None
                below = _make_folder(handle, folder, path, at)
            os.close(handle)
            handle = below
        yield handle, name
    finally:
        os.close(handle)


def _make_folder(handle: int, folder: str, path: Path, at: Path) -> int:
    with suppress(FileExistsError):  # another process has created it
        os.mkdir(folder, dir_fd=handle)
    try:
        return os.open(folder, _ON_THE_WAY, dir_fd=handle)
    except OSError as error:
        raise _full_error(error, handle, folder, path, at) from None


def _full_error(error: OSError, handle: int, name: str, path: Path, at: Path) -> OSError:
    """Return the error with the whole path; for a link the system reports ENOTDIR or ELOOP, which is replaced."""
    try:
        is_link = modes.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode)
    except OSError:
        is_link = False
    return Relinked(path, at) if is_link else OSError(error.errno, error.strerror, str(path))


def open(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    with parent(path) as (folder, name):
        try:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
        except OSError as error:
            raise _full_error(error, folder, name, path, path) from None


def stat(path: Path) -> os.stat_result:
    with parent(path) as (folder, name):
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise _full_error(error, folder, name, path, path) from None
    if modes.S_ISLNK(found.st_mode):
        raise Relinked(path, path)
    return found


def exists(path: Path) -> bool:
    try:
        stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def replace(source: Path, target: Path) -> None:
    """Call `os.replace`. A link at the end of either path is itself moved or replaced, as usual."""
    with parent(source) as (here, old), parent(target) as (there, new):
        try:
            os.replace(old, new, src_dir_fd=here, dst_dir_fd=there)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(source), None, str(target)) from None


def link(source: Path, target: Path) -> None:
    with parent(source) as (here, old), parent(target) as (there, new):
        os.link(old, new, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)


def unlink(path: Path) -> None:
    """Call `os.unlink`; no error if the file is gone."""
    try:
        with parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


@contextmanager
def folder(path: Path, *, make: bool = False) -> Iterator[int]:
    """Open a folder for `os.fsync`, `fcntl.flock` and `os.listdir`. `make` creates it if it is missing."""
    if make:
        with parent(path / "_", make=True):
            pass
    handle = open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)
