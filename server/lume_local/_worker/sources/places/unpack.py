"""Unpacks compressed files and ZIP archives, up to the size that the flow allows.

Archives are untrusted: every number in them may be wrong. A member's name is only matched and shown, never used as a
path: each is written under a name of our own.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from lume_async._base.controls import control_in
from lume_async._base.elided import elided
from lume_async._base.words import listed
from lume_local._flow.definition import RESERVED
from lume_local._flow.patterns import Pattern
from lume_local._shared.compressed import INCOMPLETE, OPENERS, SUFFIXES, ZIP, incomplete
from lume_local._worker.sources.files import BLOCK
from lume_local._worker.sources.source import Pause, SourceError, check_number

MOST_DIRECTORY = 16 * 1024**2
"""Bytes of the list of members, which is held in memory: about 200,000 of them."""
MOST_RATIO = 2000
"""Maximum ratio of a member's size to its packed size. Deflate reaches about 1,030 with zeros; only bombs more."""
UNJUDGED = 64 * 1024**2
"""Bytes up to which the ratio does not matter."""
_LISTED = 5
_LONGEST = 1000
_HEADER = 30
"""Minimum number of bytes before the content of a member."""
_READ = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}
_METHODS = {9: "Deflate64", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "encryption by AES"}
_ENCRYPTED, _AES = 1, 99
_CLUTTER = ("__macosx", "thumbs.db", "desktop.ini")
"""Files that systems add to an archive. Their other additions are hidden files."""
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz")
DAMAGED = zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, ValueError, NotImplementedError
"""Errors that `zipfile` raises for damaged archives, and for members that it can't unpack."""


class BoundedFile(io.BufferedReader):
    """A file that refuses to let `zipfile` read an overlong list of members."""

    @classmethod
    def of(cls, path: Path) -> "BoundedFile":
        return cls(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of members is larger than {MOST_DIRECTORY:,} bytes")
        return super().read(size)


@frozen
class Member:
    """One member; its name has `/` between its parts."""

    name: str
    info: zipfile.ZipInfo

    @property
    def is_file(self) -> bool:
        """Whether it is a file that a person has packed."""
        parts = self.name.split("/")
        is_hidden = any(part.startswith(".") and part.strip(".") for part in parts)
        is_clutter = parts[0].lower() in _CLUTTER or parts[-1].lower() in _CLUTTER
        return bool(parts[-1]) and not is_hidden and not is_clutter


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive, limiting its list of members. Raises the errors of `zipfile`."""
    with BoundedFile.of(path) as file, zipfile.ZipFile(file) as archive:
        yield archive


@contextmanager
def reading_zip(path: Path, shown: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; every error of it becomes a `SourceError`."""
    try:
        with opened_zip(path) as archive:
            yield archive
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(shown, error) from None  # from bzip2
    except DAMAGED as error:
        raise _damaged(shown, error) from None


def _damaged(shown: str, error: Exception) -> SourceError:
    return SourceError(f"{shown} is not a complete ZIP archive: {error}. Copy it again")


def members_of(archive: zipfile.ZipFile) -> list[Member]:
    """Return all that a person has packed, by name. Raises `zipfile.BadZipFile` if members overlap, as in a bomb."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    for one, after in pairwise(infos):
        if one.header_offset + _HEADER + one.compress_size > after.header_offset:
            raise zipfile.BadZipFile(f"{one.filename[:100]!r} and {after.filename[:100]!r} overlap")
    found = list[Member]()
    for info in infos:
        name = info.orig_filename
        if not name.isascii() and not info.flag_bits & 0x800:  # macOS writes UTF-8 without the flag
            with suppress(UnicodeError):  # else another code page, which the archive doesn't state
                name = name.encode("cp437").decode()
        # Some programs on Windows write backslashes, against the standard.
        found.append(Member(name.replace("\\", "/"), info))
    return sorted((one for one in found if one.is_file), key=lambda one: one.name)


def chosen(members: Sequence[Member], shown: str, patterns: Sequence[str]) -> list[Member]:
    """Return the members that a source reads, in its order; without patterns the only one. Raises `SourceError`."""
    if not patterns:
        found = list(members)
        if len(found) > 1:
            raise SourceError(
                f"{shown} has {len(found):,} members: {_listed(members)}. Set members in [source], such as "
                'members = "*.csv", which reads all that match'
            )
    else:
        wanted = map(Pattern, patterns)
        matches = (one for pattern in wanted for one in members if pattern.matches(one.name))
        found = list({id(one): one for one in matches}.values())
    if not found:
        others = f"but {_listed(members)}" if members else "nor any other file"
        wanted_words = f" that matches {', '.join(map(repr, patterns))}" if patterns else ""
        raise SourceError(f"{shown} has no member{wanted_words}, {others}")
    check_number(len(found), f"members in {shown}")
    counts = Counter(one.name for one in found)
    for one in found:
        if why := _why_refused(one, counts[one.name]):
            raise SourceError(f"the member {elided(one.name, 200)!r} of {shown} is not read: {why}")
    return found


def _listed(members: Sequence[Member]) -> str:
    return listed(members, _LISTED, lambda one: repr(elided(one.name, 100)))


def _why_refused(member: Member, times: int) -> str:
    name, info = member.name, member.info
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or ":" in parts[0]:
        return "its name leads out of the archive: pack it again with names below one folder"
    if len(name) > _LONGEST or control_in(name):
        return f"its name has more than {_LONGEST:,} characters, or a control character: rename it"
    if times > 1:
        return f"there are {times:,} of that name, and only one can be meant: pack it again"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a symbolic link: pack the file itself"
    if info.flag_bits & _ENCRYPTED or info.compress_type == _AES:
        return "it is encrypted: pack it again without a password"
    if info.compress_type not in _READ:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        return f"it is compressed by {method}: pack it again with Deflate, as most programs do"
    if name.lower().endswith(_ARCHIVES):
        return "it is an archive itself: unpack the outer one, and submit those in it"
    return ""


class JudgedMember:
    """The bytes of a member; a ratio that is too high is refused as soon as it is seen.

    Args:
        file: the member, unpacked while it is read.
        packed: its size in the archive, in bytes.
    """

    def __init__(self, file: IO[bytes], packed: int, shown: str) -> None:
        self._file, self._shown, self._read = file, shown, 0
        self._most = max(UNJUDGED, MOST_RATIO * packed)

    def read(self, size: int) -> bytes:
        """Return the next bytes. Raises `SourceError`."""
        block = self._file.read(size)
        self._read += len(block)
        if self._read > self._most:
            raise SourceError(
                f"{self._shown} unpacks to more than {MOST_RATIO:,} times its size, as only an archive meant to fill "
                "a disk does: if it isn't one, unpack it yourself and submit the result"
            )
        return block


_OURS = f"{RESERVED}row".encode()
_BEGINNING = 32


def compression_of(name: Path, said: str, path: Path | None) -> str | None:
    """Return how a file is compressed, by its name; `said` is the flow's setting, which corrected rejects ignore.

    `path` is the local file; None if there is none.
    """
    found = SUFFIXES.get(name.suffix.lower()) if said == "auto" else said
    if found in (None, "none"):
        return None
    if path is not None:
        with suppress(OSError), path.open("rb") as file:
            # Rejects begin with Lume's own column; without NUL, that is so in any encoding with Latin letters.
            if _OURS in file.read(_BEGINNING).replace(b"\0", b""):
                return None
    return found


@frozen
class Unpacked:
    """A file from a compressed one.

    Attributes:
        shown: its name in messages.
        packed: its compressed size in bytes.
    """

    path: Path
    shown: str
    packed: int


@frozen
class Packed:
    """A compressed file, or an archive.

    Attributes:
        kind: the compression: `zip`, or one of the others, which hold a single file.
        members: patterns of the members to read, if it is an archive.
    """

    path: Path
    shown: str
    kind: str
    members: Sequence[str] = ()

    def unpack(self, target: Path, most: int, pause: Pause) -> list[Unpacked]:
        """Write its contents to `target` or beside it, at most `most` bytes. Raises `SourceError`."""
        if self.kind != ZIP:
            self._write(target, most, pause)
            return [Unpacked(target, self.shown, self.path.stat().st_size)]
        found = list[Unpacked]()
        with reading_zip(self.path, self.shown) as archive:
            for member in chosen(members_of(archive), self.shown, self.members):
                inside = f"{self.shown}/{member.name}"
                own, packed = target.with_name(f"{target.name}_{len(found)}"), member.info.compress_size
                with archive.open(member.info) as file:
                    most -= _copied(JudgedMember(file, packed, inside), own, inside, most, pause)
                if kind := SUFFIXES.get(Path(member.name).suffix.lower()):
                    plain = own.with_suffix(".plain")
                    most -= Packed(own, inside, kind)._write(plain, most, pause)
                    own.unlink()
                    own = plain
                found.append(Unpacked(own, inside, packed))
        return found

    def _write(self, target: Path, most: int, pause: Pause) -> int:
        try:
            with OPENERS[self.kind](self.path) as packed:
                return _copied(packed, target, self.shown, most, pause)
        except INCOMPLETE as error:
            how = f"{incomplete(self.shown, self.kind, error)}, or set source.compression"
            raise SourceError(how) from None


def _copied(packed: Any, target: Path, shown: str, most: int, pause: Pause) -> int:
    """Write all that can be read; return the number of bytes. Raises `SourceError`."""
    written = 0
    with target.open("wb") as out:
        while block := packed.read(BLOCK):
            pause()
            written += len(block)
            if written > most:
                raise SourceError(
                    f"{shown} unpacks to more than source.max_unpacked_bytes allows: {most:,} bytes "
                    "are left for it. If this is intended, raise the limit in a new flow version"
                )
            out.write(block)
    return written
