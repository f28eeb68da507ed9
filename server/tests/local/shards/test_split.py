"""Where files are cut, as tables."""

import re
from pathlib import Path

import pytest

from lume_local._worker.shards.shards import PieceLook, ends_within_a_record, look, ranges
from lume_local._worker.sources.formats.text.dialect import Dialect, Quotes
from lume_local._worker.sources.intake import Malformed

RFC = {"delim": ",", "quote": '"', "escape": '"'}
BACKSLASH = {"delim": ",", "quote": '"', "escape": "\\"}
PLAIN = {"delim": ",", "quote": "", "escape": ""}


@pytest.mark.parametrize(
    ("csv", "data", "outside", "within"),
    [
        (RFC, b"a\nb\n", 2, None),
        (RFC, b'a"\nb"\nc\n', 6, 3),
        (RFC, b'""\n"\n"\n', 3, 5),
        (RFC, b'"a', None, None),
        (BACKSLASH, b'"a\\"\n"\n', 7, 5),
        (PLAIN, b'"a\nb\n', 3, None),
        (None, b'{"a":1}\n', 8, None),
    ],
)
def test_the_first_cut_for_both_cases(
    csv: dict[str, str] | None, data: bytes, outside: int, within: int
) -> None:
    quotes = Quotes(csv)
    assert quotes.cuts(quotes.bare(data)) == [outside, within]


@pytest.mark.parametrize(
    ("csv", "data", "odd"),
    [(RFC, b'a"b', True), (RFC, b'"a""b"', False), (BACKSLASH, b'"a\\"b"', False), (PLAIN, b'a"b', False)],
)
def test_an_odd_number_of_quotes(csv: dict[str, str], data: bytes, odd: bool) -> None:
    assert Quotes(csv).are_odd(data) == odd


def test_a_piece_is_looked_at_in_blocks_that_part_no_escape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lume_local._worker.shards.shards.BLOCK", 3)
    path = tmp_path / "a.csv"
    path.write_bytes(b'x,"a\\"b"\ny,z\n')
    single = {
        "place": {"kind": "files", "files": [{"path": str(path)}]},
        "shown": "a",
        "bytes": 13,
        "tag": "",
    }
    found = look({"single": single, "start": 2, "end": 13, "csv": BACKSLASH, "folder": str(tmp_path)})
    assert (found["odd"], found["path"], found["offset"]) == (False, str(path), 0)


def a(start: int, odd: bool, outside: int | None, within: int | None) -> PieceLook:
    return PieceLook(start, odd, (outside, within), "", 0)


@pytest.mark.parametrize(
    ("looks", "wanted"),
    [
        ([a(0, False, 3, None), a(50, False, 55, None)], [(0, 55), (55, 100)]),
        ([a(0, True, 3, None), a(50, True, 55, 70)], [(0, 70), (70, 100)]),
        ([a(0, False, 3, None), a(50, False, None, None)], [(0, 100)]),
        ([a(0, False, 3, None), a(50, False, 100, None)], [(0, 100)]),
        # The parity is wrong since a stray quote: what has a cut is right, here and from here on.
        (
            [a(0, True, 3, None), a(30, False, 33, None), a(60, True, 65, None), a(80, False, None, 90)],
            [(0, 33), (33, 65), (65, 90), (90, 100)],
        ),
    ],
)
def test_parities_add_up(looks: list[PieceLook], wanted: list[tuple[int, int]]) -> None:
    assert ranges(looks, 0, 100) == wanted


@pytest.mark.parametrize(
    ("csv", "text", "is_open"),
    [
        (RFC, b'1,"a\nb', True),
        (RFC, b'"x",1,"a""\n', True),
        (RFC, b'1,"a"\nb', False),
        (RFC, b'1,"a"b\n"', False),
        (RFC, b'x"\n', False),
        (BACKSLASH, b'1,"a\\"\nb', True),
        (BACKSLASH, b'1,"a\\', True),
        (BACKSLASH, b'1,"a\\\\"\nb', False),
    ],
)
def test_a_record_whose_last_quote_nothing_closes(csv: dict[str, str], text: bytes, is_open: bool) -> None:
    assert (re.compile(Dialect.of(csv).unclosed).match(text) is not None) == is_open


@pytest.mark.parametrize(
    ("limit", "lines", "refused", "wanted"),
    [
        (100, ["1,a", '2,"b', "3,c"], 2, True),
        (100, ["1,a", '2,"b', 'c",d'], 2, False),
        (100, ["1,a", 'x"y', "3,c"], 2, False),
        (5, ["1,a", '2,"b', "3,c", "4,d", "5,e"], 2, False),
    ],
)
def test_whether_a_shard_ends_within_a_record(
    tmp_path: Path, limit: int, lines: list[str], refused: int, wanted: bool
) -> None:
    path, malformed = tmp_path / "shard", Malformed(tmp_path / "malformed")
    path.write_text("".join(f"{line}\n" for line in lines))
    malformed.add(refused, "broken quotes", lines[refused - 1].encode())
    malformed.close()
    assert ends_within_a_record(path, malformed, {"csv": RFC, "max_line_bytes": limit}) == wanted
