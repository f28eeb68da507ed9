"""Unpacks compressed files and archives, up to the size that the flow allows."""

import gzip
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.files import BLOCK
from lume_local._worker.sources.places.zip_archive import JudgedMember, chosen, members_of, reading_zip
from lume_local._worker.sources.source import Pause, SourceError

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdError, ZstdFile
else:
    from backports.zstd import DecompressionParameter, ZstdError, ZstdFile

ZIP = "zip"
_SUFFIXES = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".zip": ZIP}
_OURS = f"{RESERVED}row".encode()
_BEGINNING = 32
_WINDOW_LOG = 27
"""128 MB: the window that every decompressor of this format must support."""


def compression_of(name: Path, said: str, path: Path | None) -> str | None:
    """Return how a file is compressed, by its name; `said` is the flow's setting, which corrected rejects ignore.

    `path` is the local file; None if there is none.
    """
    found = _SUFFIXES.get(name.suffix.lower()) if said == "auto" else said
    if found in (None, "none"):
        return None
    if path is not None:
        with suppress(OSError), path.open("rb") as file:
            # Rejects begin with Lume's own column; without NUL, that is so in any encoding with Latin letters.
            if _OURS in file.read(_BEGINNING).replace(b"\0", b""):
                return None
    return found


_OPENERS: dict[str, Callable[[Path], Any]] = {
    "gzip": gzip.open,
    "zstd": partial(ZstdFile, options={DecompressionParameter.window_log_max: _WINDOW_LOG}),
}


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
                if kind := _SUFFIXES.get(Path(member.name).suffix.lower()):
                    plain = own.with_suffix(".plain")
                    most -= Packed(own, inside, kind)._write(plain, most, pause)
                    own.unlink()
                    own = plain
                found.append(Unpacked(own, inside, packed))
        return found

    def _write(self, target: Path, most: int, pause: Pause) -> int:
        try:
            with _OPENERS[self.kind](self.path) as packed:
                return _copied(packed, target, self.shown, most, pause)
        except (EOFError, gzip.BadGzipFile, zlib.error, ZstdError) as error:
            raise SourceError(
                f"{self.shown} is not a complete {self.kind} file: {error}. Copy it again, or set source.compression"
            ) from None


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
