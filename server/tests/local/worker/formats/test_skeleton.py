"""The quick way to count records agrees with the grammar wherever it gives an answer."""

import re

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from lume_local._worker.sources.files import count_lines
from lume_local._worker.sources.formats.text import skeleton
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.formats.text.skeleton import Skeleton

DIALECTS = [Dialect(b",", b'"', b'"'), Dialect(b";", b"'", b"\\"), Dialect(b"\t", b"", b"")]


def by_grammar(dialect: Dialect, columns: int, line_end: bytes, data: bytes) -> tuple[int, int] | None:
    record, at, count = re.compile(dialect.record(columns) + re.escape(line_end)), 0, 0
    while at < len(data):
        match = record.match(data, at)
        if match is None:
            return None
        at, count = match.end(), count + 1
    return count, count_lines(data)


PIECES = [
    *(b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\\", b"x", b"\xff", b"\x01", b"\x02"),
    *(b',"', b'",'),
]


@examples(800)
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


@examples(200)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=10), min_size=2, max_size=4))
def test_what_it_counts_does_not_depend_on_what_came_before(several: list[list[bytes]]) -> None:
    skeleton = Skeleton(DIALECTS[0], 2, b"\n")
    for pieces in several:
        data = b"".join(pieces) + b"\n"
        assert skeleton.count(data) in (None, by_grammar(DIALECTS[0], 2, b"\n", data))


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"a,b\n", (1, 1)),
        (b'"a,1","b"\nc,"d, e,f,,g,"\n,\n', (3, 3)),
        (b'"a,1","b\n2"\nc,"d ""x"""\n,\n', (3, 4)),
        (b'"",""\n', (1, 1)),
        (b'"\x01,\x02",""\n', (1, 1)),
        (b'",",","\n', (1, 1)),
        (b'"a,",",b"\n', (1, 1)),
        (b"a,b\n\n", None),
        (b'a,b"c"\n', None),
        (b'a,"b"c\n', None),
        (b'a,"b\n', None),
        (b"a,b\r\n", None),
        (b'a,b\r"\n', None),
        (b'a",b,"c,d\n', None),
        (b'"a"",b"\n', None),
        (b"\x01a,b\x02\n", (1, 1)),
    ],
)
def test_usual_files_are_counted(data: bytes, count: tuple[int, int] | None) -> None:
    assert Skeleton(DIALECTS[0], 2, b"\n").count(data) == count


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("record", [b"a,b", b'"a, b","c"', b'a,"b ""c"""', b'"a\nb",c'])
def test_long_files_are_counted_in_pieces(
    record: bytes, line_end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skeleton, "_PIECE", 50)
    counter, data = Skeleton(DIALECTS[0], 2, line_end), (record + line_end) * 100
    assert counter.count(data) == (100, count_lines(data))
    assert counter.count(data + b"a,b,c" + line_end) is None
    assert counter.count(data + b"x" * 60 + b",b" + line_end) == (101, count_lines(data) + 1)
