"""Opens compressed files, and recognizes them by their names."""

import gzip
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdError, ZstdFile
else:
    from backports.zstd import DecompressionParameter, ZstdError, ZstdFile

ZIP = "zip"
SUFFIXES = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".zip": ZIP}
_WINDOW_LOG = 27
"""128 MB: the window that every decompressor of this format must support."""
OPENERS: dict[str, Callable[[Path | IO[bytes]], Any]] = {
    "gzip": gzip.open,
    "zstd": partial(ZstdFile, options={DecompressionParameter.window_log_max: _WINDOW_LOG}),
}
INCOMPLETE = (EOFError, gzip.BadGzipFile, zlib.error, ZstdError)
"""Errors that reading a damaged file raises."""


def incomplete(shown: str, kind: str, error: Exception) -> str:
    """Return the message for a damaged file."""
    return f"{shown} is not a complete {kind} file: {error}. Copy it again"
