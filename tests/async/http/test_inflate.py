"""Compressed bodies as servers really send them, in pieces of any size, within any limit."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._http.body import Inflater


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(data) + squeezer.flush()


WRITTEN = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    "empty members": ("gzip", lambda data: gzip.compress(b"") + gzip.compress(data) + gzip.compress(b"")),
    "padded": ("gzip", lambda data: gzip.compress(data) + b"\0" * 20),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}
EACH = pytest.mark.parametrize(("coding", "write"), WRITTEN.values(), ids=WRITTEN)


def inflated(coding: str, data: bytes, size: int, room: int = 1 << 30) -> tuple[bytes, bool]:
    inflater, out = Inflater(coding), bytearray()
    for begin in range(0, len(data), size):
        out += inflater.decompress(data[begin : begin + size], room - len(out))
        if len(out) >= room:
            break
    return bytes(out), inflater.complete


@EACH
@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_it_comes_out_as_it_went_in(coding: str, write, data: bytes, size: int) -> None:  # type: ignore[no-untyped-def]
    assert inflated(coding, write(data), size) == (data, True)


@EACH
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_what_was_cut_is_not_complete(coding: str, write, size: int) -> None:  # type: ignore[no-untyped-def]
    whole = write(b"rows and rows " * 50)
    end = len(whole) - (26 if coding == "gzip" and whole.endswith(b"\0" * 20) else 6)

    assert not inflated(coding, whole[:end], size)[1]


@EACH
def test_never_more_than_there_is_room_for(coding: str, write) -> None:  # type: ignore[no-untyped-def]
    out, _ = inflated(coding, write(b"x" * 1_000_000), 100, room=5_000)

    assert out == b"x" * 5_000


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_is_something_else_is_an_error(coding: str) -> None:
    with pytest.raises(zlib.error):
        Inflater(coding).decompress(b'{"plain": "JSON, after all"}', 1000)


def test_nothing_at_all_is_complete() -> None:
    assert Inflater("gzip").complete
