"""The quick way to count records agrees with the grammar wherever it gives an answer."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lume_local._worker.sources.dialect import Dialect
from lume_local._worker.sources.skeleton import Skeleton

DIALECTS = [Dialect(b",", b'"', b'"'), Dialect(b";", b"'", b"\\"), Dialect(b"\t", b"", b"")]


def by_grammar(dialect: Dialect, columns: int, line_end: bytes, data: bytes) -> int | None:
    record, at, count = re.compile(dialect.record(columns) + re.escape(line_end)), 0, 0
    while at < len(data):
        match = record.match(data, at)
        if match is None:
            return None
        at, count = match.end(), count + 1
    return count


PIECES = [b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\\", b"x", b"\xff"]


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(DIALECTS),
    st.integers(1, 3),
    st.sampled_from([b"\n", b"\r\n"]),
    st.lists(st.sampled_from(PIECES), max_size=14),
)
def test_what_it_counts_is_there(
    dialect: Dialect, columns: int, line_end: bytes, pieces: list[bytes]
) -> None:
    data = b"".join(pieces) + line_end
    assert Skeleton(dialect, columns, line_end).count(data) in (
        None,
        by_grammar(dialect, columns, line_end, data),
    )


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"a,b\n", 1),
        (b'"a,1","b\n2"\nc,"d ""x"""\n,\n', 3),
        (b'"",""\n', 1),
        (b"a,b\n\n", None),
        (b'a,b"c"\n', None),
        (b'a,"b"c\n', None),
        (b'a,"b\n', None),
        (b"a,b\r\n", None),
        (b'a,b\r"\n', None),
    ],
)
def test_usual_files_are_counted(data: bytes, count: int | None) -> None:
    assert Skeleton(DIALECTS[0], 2, b"\n").count(data) == count
