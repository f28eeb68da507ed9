"""Decompression of gzip and deflate, including the variants that servers send."""

import zlib

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""RFC 9110 §8.4.1: `x-gzip` is equivalent to `gzip`."""

_GZIP, _ZLIB, _RAW = 31, 15, -15


class Inflater:
    """Decompresses a body in pieces of limited size.

    A gzip body may consist of several members (RFC 1952 §2.2). `deflate` means the zlib format, but some servers
    omit its two-byte header, and browsers accept both.

    Attributes:
        complete: whether compressed data may end here.
    """

    def __init__(self, coding: str) -> None:
        self._window = _ZLIB if coding == "deflate" else _GZIP
        self._inflater: zlib._Decompress | None = None
        self._waiting = b""  # too short to show the kind of deflate
        self.complete = True

    def decompress(self, data: bytes, room: int) -> bytes:
        """Decompress up to `room` more bytes. Raises `zlib.error` if the data does not match the announced coding."""
        data = self._waiting + data
        if self._inflater is None and self._window == _ZLIB:
            if len(data) < 2:
                self._waiting = data
                self.complete = not data
                return b""
            self._waiting = b""
            if not _has_zlib_header(data):
                self._window = _RAW
        out = bytearray()
        while data and len(out) < room:
            if self._inflater is None or self._inflater.eof:
                if not data.strip(b"\0"):  # padding after the last member
                    break
                self._inflater = zlib.decompressobj(self._window)
            out += self._inflater.decompress(data, room - len(out))
            data = self._inflater.unused_data
        if self._inflater is not None:
            self.complete = self._inflater.eof
        return bytes(out)


def _has_zlib_header(data: bytes) -> bool:
    """Return whether the method is 8 and the two bytes are a multiple of 31 (RFC 1950 §2.2)."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
