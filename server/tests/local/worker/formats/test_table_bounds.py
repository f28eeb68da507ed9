"""`header`, `names`, `comment` and `footer`: where the table of a file is."""

import random
from pathlib import Path
from typing import Any

import pytest
from depth import seeds
from local.layouts import COLUMNS, laid
from local.one_run import compiled, execute
from local.shards.twice import compared
from local.workbooks import written

from lume_local._flow.fields import FlowError
from lume_local._flow.table_bounds import joined
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.table_edges import footer_start

TABLE: dict[str, Any] = {"a": {"from": ["Name A"]}, "b": {"type": "integer"}}
ENGINE = {"url": "here", "shard_bytes": 1, "shards": 4}


@seeds(30)
def test_rows_lines_and_account_are_those_of_plain_python(tmp_path: Path, seed: int) -> None:
    """By one worker and over shards."""
    file, source = laid(random.Random(seed))
    content, flow = file.text.encode(), {"columns": COLUMNS, "source": source}
    result = execute(tmp_path / "one", content, **flow)
    assert result.mapped == file.mapped
    assert [int(row["_lume_line"]) for row in result.rejects] == file.malformed
    found = result.metrics["source"]
    assert found["lines"] == file.lines
    assert found["records"] == file.records
    assert found.get("skipped", {}) == file.skipped
    compared(tmp_path / "two", [("a.csv", content)], ENGINE | {"shards": 2 + seed % 5}, **flow)


@seeds(12)
def test_rejects_come_back_whatever_the_layout(tmp_path: Path, seed: int) -> None:
    file, source = laid(random.Random(seed))
    flow = {"columns": COLUMNS, "source": source}
    first = execute(tmp_path / "first", file.text, **flow)
    if not first.rejects:
        return
    content = first.rejects_file.decode() + ",,,ok,1,\n"
    again = execute(tmp_path / "again", content, **flow)
    assert (again.mapped, again.reasons) == ([("ok", 1)], first.reasons)
    # Also without the column by which they are recognized at once; here no value before the second one is quoted.
    moved = "".join(line.split(",", 1)[1] for line in content.splitlines(keepends=True))
    assert execute(tmp_path / "moved", moved, **flow).reasons == first.reasons


def in_csv(rows: list[list[Any]]) -> bytes:
    return "".join(",".join("" if v is None else str(v) for v in row) + "\n" for row in rows).encode()


HEAD, ROWS = ["name_a", "B"], [["x", 1], ["Total y", 2], ["z", 3]]
LAYOUTS: list[tuple[dict[str, Any], list[list[Any]], dict[str, int]]] = [
    ({"header": "first"}, [HEAD, *ROWS], {}),
    ({"header": {"row": 4}}, [["T"], [], ["B", "u"], HEAD, *ROWS], {"preamble": 3}),
    (
        {"header": {"row": 2, "lines": 2}},
        [["T"], ["Name", "B"], ["A", None], *ROWS],
        {"preamble": 1},
    ),
    ({"header": {"contains": ["B", "NAME-A"]}}, [["B", "T"], HEAD, *ROWS], {"preamble": 1}),
    (
        {"header": {"contains": ["Name A"], "lines": 2}},
        [["T"], [], ["Name", "B"], ["A"], *ROWS],
        {"preamble": 2},
    ),
    ({"header": "find"}, [["T"], ["b", "only"], HEAD, *ROWS], {"preamble": 2}),
    ({"header": "find", "comment": "#"}, [["# a", "b"], ["T"], HEAD, *ROWS], {"preamble": 1, "comments": 1}),
    ({"header": "none", "names": ["Name A", "B"]}, ROWS, {}),
    ({"comment": "#"}, [["# 1"], [], ["#"], HEAD, ["# x", 1], *ROWS], {"comments": 3, "blank": 1}),
    ({"footer": {"rows": 2}}, [HEAD, *ROWS, ["s", 1], [], ["t"], []], {"footer": 2, "blank": 2}),
    ({"footer": {"starts_with": ["Total"]}}, [HEAD, *ROWS, ["Total", 6], ["Totals"]], {"footer": 2}),
    (
        {"header": "find", "comment": "//", "footer": {"starts_with": ["Sum", "as of"]}},
        [["T"], HEAD, ["//"], *ROWS, ["Sum", 6], ["//", 1], [], ["as of today"]],
        {"preamble": 1, "comments": 2, "footer": 2, "blank": 1},
    ),
]


@pytest.mark.parametrize("format", ["csv", "excel"])
@pytest.mark.parametrize(("source", "rows", "skipped"), LAYOUTS)
def test_layouts(
    tmp_path: Path, format: str, source: dict[str, Any], rows: list[list[Any]], skipped: dict[str, int]
) -> None:
    content = written("xlsx", rows) if format == "excel" else in_csv(rows)
    if format == "excel":  # what stands behind the last row of a sheet is not in the file
        while not rows[-1]:
            rows, skipped = rows[:-1], skipped | {"blank": skipped["blank"] - 1}
    result = execute(tmp_path, content, columns=TABLE, source=source | {"format": format})
    assert result.mapped == [("x", 1), ("Total y", 2), ("z", 3)]
    counts = result.metrics["source"]
    assert counts.get("skipped", {}) == {kind: count for kind, count in skipped.items() if count}
    header = (
        0
        if "names" in source
        else source.get("header", {}).get("lines", 1)
        if isinstance(source.get("header"), dict)
        else 1
    )
    assert len(rows) == header + counts["records"] + sum(skipped.values())


@pytest.mark.thorough
@pytest.mark.parametrize("first", ["\ufeff", ""])
def test_a_value_is_no_byte_order_mark(tmp_path: Path, first: str) -> None:
    """Of files without a header, whose shards begin with a value."""
    content = first + "".join(f"\ufeffv{n},{n}\n" for n in range(9))
    flow = {"columns": {"a": {}, "b": {}}, "source": {"header": "none", "names": ["a", "b"]}}
    sharded = compared(tmp_path, [("a.csv", content.encode())], ENGINE | {"shards": 5}, **flow)
    # A file that begins with one has it as its mark.
    assert sharded.files["mapped.csv"].decode().count("\ufeffv") == (9 if first else 8)
    assert sharded.shards["count"] > 3


def test_a_footer_over_several_shards(tmp_path: Path) -> None:
    content = "a,b\n" + "".join(f"x,{n}\n" for n in range(20)) + "Total,1\n" * 60
    flow = {"columns": TABLE, "source": {"footer": {"starts_with": ["Total"]}}}
    sharded = compared(tmp_path, [("a.csv", content.encode())], ENGINE | {"shards": 8}, **flow)
    assert sharded.metrics["source"]["skipped"] == {"footer": 60}
    assert sharded.shards["count"] == 2


FAILURES = [
    ({"header": {"row": 9}}, "has 4 (lines|rows): its header should be (line|row) 9"),
    ({"header": {"contains": ["Nein"]}}, r"no header in the first 100 lines of .*: line 1 .* lacks 'Nein'"),
    ({"header": "find"}, "no header in the first 100 lines .*line 3 .*lacks 'b'"),
    ({"header": {"row": 2}}, "has no header: (its line|row) 2"),
]


@pytest.mark.parametrize("format", ["csv", "excel"])
@pytest.mark.parametrize(("source", "problem"), FAILURES)
def test_no_header(tmp_path: Path, format: str, source: dict[str, Any], problem: str) -> None:
    rows = [["T"], [], ["Name A", "c"], ["x", 1]]
    content = written("xlsx", rows) if format == "excel" else in_csv(rows)
    with pytest.raises(RunFailed, match=problem):
        execute(tmp_path, content, columns=TABLE, source=source | {"format": format})


def test_a_header_beyond_the_first_lines_is_not_searched(tmp_path: Path) -> None:
    for above in (99, 100):
        content = "x\n" * above + "a,b\n1,2\n"
        if above == 99:
            result = execute(tmp_path / "99", content, columns=TABLE, source={"header": "find"})
            assert result.mapped == [("1", 2)]
        else:
            with pytest.raises(RunFailed, match="no header in the first 100 lines"):
                execute(tmp_path / "100", content, columns=TABLE, source={"header": "find"})


def test_a_header_in_another_encoding_gets_advice(tmp_path: Path) -> None:
    columns = {"Größe": {}}
    with pytest.raises(RunFailed, match="It looks like cp1252"):
        execute(tmp_path, "T\nGröße,b\n1,2\n".encode("cp1252"), columns=columns, source={"header": "find"})


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"header": "frist"}, "source.header", "did you mean 'first'"),
    ({"header": "none"}, "source.header", "belong together"),
    ({"names": ["a", "b"]}, "source.header", "belong together"),
    ({"header": {"row": 1}, "names": ["a"]}, "source.names", "has no meaning"),
    ({"header": "none", "names": ["b"]}, "source.names", "lacks 'a', which columns.a.from reads"),
    ({"header": {}}, "source.header", "is either"),
    ({"header": {"row": 1, "contains": ["a"]}}, "source.header", "is either"),
    ({"header": {"row": 101}}, "source.header.row", "from 0 to 100"),
    ({"header": {"row": 1, "lines": 0}}, "source.header.lines", "from 1 to 5"),
    ({"header": {"contains": ["-"]}}, "source.header.contains", "no letter or digit"),
    ({"header": {"contains": []}}, "source.header.contains", "must be a list"),
    ({"header": {"line": 1}}, "source.header.line", "is not a known key"),
    ({"header": 4}, "source.header", "must be"),
    ({"footer": {}}, "source.footer", "is either"),
    ({"footer": {"rows": 1, "starts_with": ["a"]}}, "source.footer", "is either"),
    ({"footer": {"starts_with": [" "]}}, "source.footer.starts_with", "is not a string"),
    ({"footer": 1}, "source.footer", "must be a table"),
    ({"comment": ""}, "source.comment", "must be what comments begin with"),
    ({"comment": ",x"}, "source.comment", "delimiter or the quote"),
    ({"comment": "#", "format": "ndjson"}, "source.comment", "has no meaning for format"),
    ({"footer": {"rows": 1}, "format": "parquet"}, "source.footer", "has no meaning for format"),
]


@pytest.mark.parametrize(("source", "place", "problem"), MISTAKES)
def test_mistakes(source: dict[str, Any], place: str, problem: str) -> None:
    with pytest.raises(FlowError, match=problem) as caught:
        compiled(columns=TABLE, source=source)
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([["a", "b"]], ["a", "b"]),
        ([["a", "", "b"], ["x", "y", "z"]], ["a x", "a y", "b z"]),
        ([["a"], ["x", "y"]], ["a x", "a y"]),
        ([["", "b"], ["x", "y"]], ["x", "b y"]),
        ([["a", "b"], ["x"]], ["a x", "b"]),
    ],
)
def test_lines_that_are_joined(rows: list[list[str]], names: list[str]) -> None:
    assert joined(rows) == names


@pytest.mark.parametrize(
    ("footer", "rows", "first"),
    [
        ({"rows": 1}, ["a", "b"], 1),
        ({"rows": 1}, ["a", "b", None, None], 1),
        ({"rows": 2}, ["a", "b", None, "c"], 1),
        ({"rows": 5}, ["a", "b"], 0),
        ({"starts_with": ["S"]}, ["S", "b", "S", None, "Sum", None], 2),
        ({"starts_with": ["S"]}, ["S", "b"], 2),
        ({"starts_with": ["S"]}, ["a", None, None], 3),
        ({"rows": 1}, [], 0),
    ],
)
def test_where_a_footer_begins(footer: dict[str, Any], rows: list[str | None], first: int) -> None:
    assert footer_start({"rows": 0, "starts_with": []} | footer, rows) == first
