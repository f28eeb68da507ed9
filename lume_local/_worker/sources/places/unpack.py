"""Compressed files, unpacked up to the size that the flow allows."""

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.files import BLOCK
from lume_local._worker.sources.source import Pause, SourceError

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdError, ZstdFile
else:
    from backports.zstd import DecompressionParameter, ZstdError, ZstdFile

_SUFFIXES = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_OURS = f"{RESERVED}row".encode()
_BEGINNING = 32
_WINDOW_LOG = 27
"""128 MB: the window that every decompressor of this format must support."""


def compression_of(name: Path, said: str, path: Path | None) -> str | None:
    """How a file is compressed, by its name; `said` is the flow's setting, which corrected rejects don't follow.

    `path` is the local file; None if there is none.
    """
    found = _SUFFIXES.get(name.suffix.lower()) if said == "auto" else said
    return None if found in (None, "none") or (path is not None and _are_rejects(path)) else found


def _are_rejects(path: Path) -> bool:
    """Whether a file begins with our own column, in any encoding with Latin letters."""
    try:
        with path.open("rb") as file:
            return _OURS in file.read(_BEGINNING).replace(b"\0", b"")
    except OSError:
        return False


def _zstd(path: Path) -> Any:
    return ZstdFile(path, options={DecompressionParameter.window_log_max: _WINDOW_LOG})


_OPENERS: dict[str, Callable[[Path], Any]] = {"gzip": gzip.open, "zstd": _zstd}


def unpack(path: Path, shown: str, compression: str, target: Path, most: int, pause: Pause) -> int:
    """Write what is in a compressed file, `most` bytes at the most; how many it was. Raises `SourceError`."""
    written = 0
    with target.open("wb") as out:
        try:
            with _OPENERS[compression](path) as packed:
                while block := packed.read(BLOCK):
                    pause()
                    written += len(block)
                    if written > most:
                        raise SourceError(
                            f"{shown} unpacks to more than source.max_unpacked_bytes allows: {most:,} bytes "
                            "are left for it. If this is intended, raise the limit in a new flow version"
                        )
                    out.write(block)
        except (EOFError, gzip.BadGzipFile, zlib.error, ZstdError) as error:
            raise SourceError(
                f"{shown} is not a complete {compression} file: {error}. Copy it again, or set source.compression"
            ) from None
    return written
