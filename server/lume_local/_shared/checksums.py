"""SHA256SUMS: the checksums of a folder's files, for `sha256sum -c` or any other tool to verify.

Each line has the digest and the path of a file; a path with a backslash or the end of a line is escaped, as GNU
coreutils do.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lume_local._shared import no_links
from lume_local._shared.identity import identity

SUMS = "SHA256SUMS"
_BLOCK = 4 * 1024 * 1024
_LINE = re.compile(rb"(\\?)([0-9a-f]{64})  ([^\n]+)\n")
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_ESCAPED = {escape: byte for byte, escape in _ESCAPES.items()}


def digest_of(path: Path) -> str:
    """Return the digest of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copied(path: Path, to: Path, noted: str | None = None) -> str | None:
    """Copy a file with its times and permissions, durably, and return the digest of the copy. Raises OSError.

    Returns None if the file is gone, or its identity is not the `noted` one.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO would block.
        handle = no_links.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        found, digest = os.fstat(handle), hashlib.sha256()
        if not stat.S_ISREG(found.st_mode) or noted not in (None, identity(handle)):
            return None
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("xb") as out:
            while block := file.read(_BLOCK):
                digest.update(block)
                out.write(block)
            out.flush()
            os.fchmod(out.fileno(), found.st_mode & 0o777)  # no set-uid
            os.utime(out.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(out.fileno())
    return digest.hexdigest()


def written(digests: Mapping[str, str]) -> bytes:
    """Return the content of SHA256SUMS for digests by relative path. Pure."""
    lines = []
    for name in sorted(digests):
        path = os.fsencode(name)
        escaped = re.sub(rb"[\\\n\r]", lambda found: _ESCAPES[found[0]], path)
        mark = b"\\" if escaped != path else b""
        lines.append(mark + digests[name].encode() + b"  " + escaped + b"\n")
    return b"".join(lines)


def read(content: bytes) -> dict[str, str]:
    """Return the digests by relative path. Pure. Raises `ValueError`, even for a path outside the folder."""
    found = {}
    for line in content.splitlines(keepends=True):
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError(f"{SUMS} has an invalid line: {os.fsdecode(line)}")
        escaped, digest, path = parts.groups()
        if escaped:
            path = re.sub(rb"\\[\\nr]", lambda one: _ESCAPED[one[0]], path)
        name = os.fsdecode(path)
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{SUMS} names a file elsewhere: {name}")
        found[name] = digest.decode()
    return found
