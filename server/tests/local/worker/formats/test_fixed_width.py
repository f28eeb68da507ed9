"""`format = "fixed"`: columns by the positions of their characters."""

import random
from pathlib import Path
from typing import Any

import pytest
from depth import seeds
from local.one_run import compiled, execute
from local.shards.twice import compared

from lume_async._base.words import counted
from lume_local._flow.fields import FlowError
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.text.dialect import EvenLines, FixedWidth

ENGINE = {"url": "here", "shard_bytes": 1, "shards": 4}
LETTERS = ("a", "7", "é", "€", "𝄞", "e\u0301", "\u00a0", "\t", '"', "#", ";")


class File:
    """A random file of fixed width, and what a run must find in it, by plain slices of its lines."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.end = rng, rng.choice(("\n", "\n", "\r\n"))
        self.lines: list[str] = []
        self.mapped: list[tuple[str | None, ...]] = []
        self.malformed: list[tuple[int, str]] = []
        self.skipped: dict[str, int] = {}
        at, spans = 1, []
        for _ in range(rng.randint(1, 4)):
            at += rng.choice((0, 0, 2))
            spans.append([at, at + rng.randint(1, 6) - 1])
            at = spans[-1][1] + 1
        self.columns = {f"c{n}": span for n, span in enumerate(spans)}
        self.width, self.is_ascii = at - 1, rng.random() < 0.5
        self.trimmed = rng.random() < 0.3
        self.source: dict[str, Any] = {"format": "fixed"}

    def skip(self, text: str, kind: str) -> None:
        self.lines.append(text)
        self.skipped[kind] = self.skipped.get(kind, 0) + 1

    def record(self) -> None:
        rng = self.rng
        letters = LETTERS[:2] if self.is_ascii else LETTERS
        # What it begins with is neither a comment nor a footer.
        text = "x" + "".join(rng.choice((*letters, " ")) for _ in range(self.width))
        text = text[: self.width]
        kind = rng.choice(("", "", "", "short", "long", "padded"))
        if kind == "short" and self.width > 1:
            text = text[: rng.randrange(1, self.width)]
        elif kind == "long":
            text += "y"
        elif kind == "padded":
            text += " " * rng.randrange(1, 4)
        self.lines.append(text)
        is_short = len(text) < self.width and not self.trimmed
        if is_short or text[self.width :].strip(" "):
            which = "shorter" if is_short else "longer"
            why = f"malformed line: {which} than {counted(self.width, 'character')}"
            self.malformed.append((len(self.lines), why))
        else:
            values = (text[first - 1 : last].strip(" ") for first, last in self.columns.values())
            self.mapped.append(tuple(value or None for value in values))

    @property
    def content(self) -> bytes:
        return (self.end.join(self.lines) + self.end).encode()


def written(rng: random.Random) -> tuple[File, dict[str, Any]]:
    file = File(rng)
    if rng.random() < 0.5:
        file.source["comment"] = "--"
    if above := rng.randrange(3):
        for n in range(above - 1):
            file.skip(rng.choice(("Report", "", f"{'z' * 30}{n}")), "preamble")
        file.lines.append("HEADER of the table")
        file.source["header"] = {"row": above}
    for _ in range(rng.randint(1, 40)):
        if rng.random() < 0.1:
            file.skip("", "blank")
        if "comment" in file.source and rng.random() < 0.1:
            file.skip("-- a comment", "comments")
        file.record()
    if rng.random() < 0.5:
        file.source["footer"] = {"starts_with": ["T0"]}
        for _ in range(rng.randrange(3)):
            file.skip(f"T0{len(file.lines)}", "footer")
    if not rng.randrange(3):
        file.skip("", "blank")
    file.source["fixed"] = {"columns": file.columns} | ({"trimmed": True} if file.trimmed else {})
    return file, {"columns": {name: {} for name in file.columns}, "source": file.source}


@seeds(20)
def test_rows_lines_and_account_are_those_of_plain_slices(tmp_path: Path, seed: int) -> None:
    """By one worker and over shards; rejects come back as they were."""
    file, flow = written(random.Random(seed))
    compared(tmp_path / "two", [("a.txt", file.content)], ENGINE | {"shards": 2 + seed % 5}, **flow)
    if not file.mapped:
        with pytest.raises(RunFailed, match="rejected"):
            execute(tmp_path / "one", file.content, **flow)
        return
    result = execute(tmp_path / "one", file.content, **flow)
    assert result.mapped == file.mapped
    assert [(int(one["_lume_line"]), one["_lume_reasons"]) for one in result.rejects] == file.malformed
    found = result.metrics["source"]
    assert found["lines"] == len(file.lines)
    assert found["records"] == len(file.mapped) + len(file.malformed)
    assert found.get("skipped", {}) == file.skipped
    if result.rejects:
        names = ",".join(file.columns)
        row = ",".join(["1", "", "", *["ok"] * len(file.columns), ""])
        again = execute(tmp_path / "again", result.rejects_file + f"{row}\n".encode(), **flow)
        assert again.mapped == [("ok",) * len(file.columns)], names
        assert again.raws == result.raws


PLACES = {"no": [1, 4], "name": [6, 11], "part": [6, 7]}
TABLE: dict[str, Any] = {"no": {"type": "integer"}, "name": {}, "part": {}}
LINES = "0001 Ann Lee\n0002 Böéé   \n0003       \n".replace("Lee", "Le")
ROWS = [(1, "Ann Le", "An"), (2, "Böéé", "Bö"), (3, None, None)]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "cp037"])
def test_positions_are_of_characters(tmp_path: Path, encoding: str) -> None:
    """Columns may overlap, and what lies between them is not read. In EBCDIC, lines end with NEL: not here."""
    source = {"format": "fixed", "fixed": {"columns": PLACES, "encoding": encoding}}
    result = execute(tmp_path, LINES.encode(encoding), columns=TABLE, source=source)
    assert result.mapped == ROWS


def test_widths_and_names(tmp_path: Path) -> None:
    fixed = {"format": "fixed", "fixed": {"widths": [5, 6]}}
    columns = {"no": {"type": "integer"}, "name": {}}
    rows = [row[:2] for row in ROWS]
    named = fixed | {"header": "none", "names": ["no", "name"]}
    assert execute(tmp_path / "1", LINES, columns=columns, source=named).mapped == rows
    assert execute(tmp_path / "2", f"No   Name\n{LINES}", columns=columns, source=fixed).mapped == rows
    above = f"Customers\n\nNO   N a m e and more\n{LINES}"
    found = execute(
        tmp_path / "3",
        above,
        columns={"no": {"type": "integer", "from": ["Nr"]}, "name": {"from": ["Nam"]}},
        source=fixed | {"header": "find"},
    )
    assert (found.mapped, found.metrics["source"]["skipped"]) == (rows, {"preamble": 2})
    assert found.metrics["source"]["aliases"] == {"no": ["NO"], "name": ["N a m"]}


def test_a_control_character_costs_its_line(tmp_path: Path) -> None:
    source = {"format": "fixed", "fixed": {"columns": {"a": [1, 3]}}}
    result = execute(tmp_path, "ab\x01\nabc\n\0bc\n", columns={"a": {}}, source=source)
    assert result.mapped == [("abc",), ("\0bc",)]
    assert result.reasons == ["malformed line: contains the control character U+0001"]


def test_a_long_line_is_a_reject(tmp_path: Path) -> None:
    source = {"format": "fixed", "fixed": {"columns": {"a": [1, 3]}}, "max_line_bytes": 10}
    result = execute(tmp_path, f"abc\nabc{' ' * 20}\nabc   \n", columns={"a": {}}, source=source)
    assert (result.mapped, result.reasons) == ([("abc",)] * 2, ["malformed line: longer than 10 bytes"])


def test_another_encoding_is_named(tmp_path: Path) -> None:
    source = {"format": "fixed", "fixed": {"columns": {"a": [1, 3]}}}
    with pytest.raises(RunFailed, match=r'fixed\.encoding = "cp1252"'):
        execute(tmp_path, "äöü\n".encode("cp1252"), columns={"a": {}}, source=source)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"abc|def|", 2),
        (b"", 0),
        (b"abc|", 1),
        (b"abcd|ef|", None),
        (b"ab|cdef|", None),
        ("aé|def|".encode(), None),
        (b"a\rc|def|", None),
        (b"a\nc|def|", None),
        (b"a\x01c|", None),
        (b"ab||||||", None),
    ],
)
def test_lines_that_are_counted_at_once(line_end: bytes, data: bytes, count: int | None) -> None:
    counter = EvenLines(FixedWidth(((0, 3),), False), line_end)
    assert counter.count(data.replace(b"|", line_end)) == (None if count is None else (count, count))


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "source.fixed", "needs either columns"),
    ({"fixed": {"columns": PLACES, "widths": [1]}}, "source.fixed", "needs either columns"),
    ({"fixed": {"columns": {"no": [5, 4]}}}, "source.fixed.columns.no", "ends at character 4"),
    ({"fixed": {"columns": {"no": [0, 4]}}}, "source.fixed.columns.no", "from 1 to"),
    ({"fixed": {"columns": {"no": 4}}}, "source.fixed.columns.no", "the first and the last"),
    ({"fixed": {"columns": {"no": [1, True]}}}, "source.fixed.columns.no", "from 1 to"),
    ({"fixed": {"columns": {"a": [1, 4]}}}, "source.fixed.columns", "lacks 'no', which columns.no reads"),
    ({"fixed": {"widths": [0]}}, "source.fixed.widths[0]", "from 1 to"),
    ({"fixed": {"widths": [5, 6]}, "header": "none", "names": ["no"]}, "source.names", "are 1, and"),
    ({"fixed": {"columns": PLACES}, "names": ["a"]}, "source.names", "has no meaning with fixed.columns"),
    ({"fixed": {"columns": PLACES, "encoding": "x"}}, "source.fixed.encoding", "not an encoding"),
    ({"fixed": {"columns": PLACES, "colums": 1}}, "source.fixed.colums", "did you mean 'columns'"),
    (
        {"fixed": {"columns": PLACES}, "csv": {"delim": ";"}},
        "source.csv",
        "has no meaning for format 'fixed'",
    ),
    ({"format": "csv", "fixed": {"columns": PLACES}}, "source.fixed", "has no meaning for format 'csv'"),
]


@pytest.mark.parametrize(("source", "place", "problem"), MISTAKES)
def test_mistakes(source: dict[str, Any], place: str, problem: str) -> None:
    with pytest.raises(FlowError, match=problem) as caught:
        compiled(columns={"no": {}}, source={"format": "fixed"} | source)
    assert caught.value.place == place
