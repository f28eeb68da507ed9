"""Sheets of workbooks of four kinds: the same values, however another reader would change them."""

import datetime
import io
import random
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from components import package
from depth import examples, seeds
from hypothesis import given
from hypothesis import strategies as st
from local.flows import people
from local.one_run import execute, execute_files
from local.shards.twice import compared
from local.workbooks import KINDS, Error, Sheet, record, written

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.sheets.book import Area, ErrorText, column_letters, filled
from lume_local._worker.sources.formats.sheets.workbook import opened_workbook
from lume_local._worker.sources.formats.sheets.xlsb import records
from lume_local._worker.sources.source import SourceError

MIDNIGHT = datetime.datetime(2024, 2, 29)
VALUES: list[tuple[Any, str | None]] = [
    ("txt", "txt"),
    ("  padded  ", "  padded  "),
    (" ", " "),
    ("a\nb", "a\nb"),
    ("007", "007"),
    ("Ä€ 𝄞", "Ä€ 𝄞"),
    ("=1+1", "=1+1"),
    ("#N/A", "#N/A"),
    (Error("#N/A"), "#N/A"),
    (Error("#DIV/0!"), "#DIV/0!"),
    (0, "0"),
    (-3, "-3"),
    (1.0, "1"),
    (12.5, "12.5"),
    (0.1, "0.1"),
    (123456789012, "123456789012"),
    (True, "true"),
    (False, "false"),
    (MIDNIGHT.date(), "2024-02-29"),
    (MIDNIGHT, "2024-02-29 00:00:00"),
    (MIDNIGHT.replace(hour=13, minute=1, second=2), "2024-02-29 13:01:02"),
    (datetime.time(0, 0), "00:00:00"),
    (datetime.time(13, 5), "13:05:00"),
    (datetime.timedelta(hours=30, minutes=1), "30:01:00"),
    (None, None),
    ("", None),
]


def read(tmp_path: Path, content: bytes, sheet: str = "Sheet1") -> dict[int, list[str | None]]:
    path = tmp_path / "book"
    path.write_bytes(content)
    with opened_workbook(path, "book", 10**9, lambda: None) as book:
        return dict(book.rows(sheet))


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_what_the_cell_shows(tmp_path: Path, kind: str) -> None:
    """An error is no text, blanks stay, midnight is a time, and whole numbers are whole."""
    rows = read(tmp_path, written(kind, [[value, "end"] for value, _ in VALUES]))
    if kind == "xlsx":  # openpyxl takes such a text for an error when it writes
        rows[8][0] = "#N/A"
    assert [rows[n][:1] for n in range(1, len(VALUES) + 1)] == [[text] for _, text in VALUES]
    errors = {n for n, (value, _) in enumerate(VALUES, 1) if isinstance(value, Error)}
    assert {n for n, row in rows.items() if isinstance(row[0], ErrorText)} - {8} == errors - {8}


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_reader_makes_of_it(tmp_path: Path, kind: str) -> None:
    """It reads the same cells, so that what we write for tests is a workbook, and loses what is named here."""
    calamine = package("python_calamine")
    (tmp_path / "book").write_bytes(written(kind, [[value, "end"] for value, _ in VALUES]))
    with calamine.CalamineWorkbook.from_path(tmp_path / "book") as book:
        found = [row[0] for row in book.get_sheet_by_index(0).to_python(skip_empty_area=False)]
    seen = {value: found[n] for n, (value, _) in enumerate(VALUES) if not isinstance(value, Error)}
    assert [found[n] for n, (value, _) in enumerate(VALUES) if isinstance(value, Error)] == ["", ""]
    assert seen["txt"] == "txt"
    assert seen["a\nb"] == "a\nb"
    assert [seen[key] for key in (-3, 12.5, 123456789012)] == [-3, 12.5, 123456789012]
    assert seen[MIDNIGHT.replace(hour=13, minute=1, second=2)] == MIDNIGHT.replace(
        hour=13, minute=1, second=2
    )
    assert type(found[19]) is (datetime.datetime if kind == "ods" else datetime.date)
    assert seen[datetime.time(13, 5)] == datetime.time(13, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_can_not_be_judged_are_rejected(tmp_path: Path, kind: str) -> None:
    rows = [["id", "name"], [1, "A"], [2, Error("#N/A")], [3, "C", "beyond"], [], ["x", "D"], [4, None]]
    columns = {"id": {"type": "integer"}, "name": {}}
    result = execute(tmp_path, written(kind, rows), columns=columns, source={"format": "excel"})
    assert result.mapped == [(1, "A"), (4, None)]
    assert [(row["_lume_line"], row["_lume_reasons"]) for row in result.rejects] == [
        ("6", "id: is not a valid integer"),
        ("3", "malformed line: B3 contains the error #N/A"),
        ("4", "malformed line: too many columns"),
    ]
    assert result.metrics["source"]["skipped"] == {"blank": 1}
    null = execute(
        tmp_path / "null",
        written(kind, rows),
        columns=columns,
        source={"format": "excel", "null": ["#N/A"]},
    )
    assert null.mapped == [(1, "A"), (2, None), (4, None)]


TABLE: dict[str, Any] = {"a": {"from": ["Name A"]}, "b": {"type": "integer"}}


BOOK = {
    "Cover": Sheet([["id"], ["x"]], "hidden"),
    "Jan 24": Sheet([["id", "name"], [1, "A"], [2, "B"]]),
    "Feb 24": Sheet([["name", "id"], ["C", 3], ["D", "y"], ["E", 1]]),
    "Mar 24": Sheet([["id", "name"], [9, "hidden"]], "veryHidden"),
    "Notes": Sheet([["?"]]),
}


def of_sheet(folder: Path, kind: str, **excel: Any) -> Any:
    content = written(kind, BOOK)
    return execute_files(folder, ("in", content), source={"format": "excel", "excel": excel}), len(content)


@pytest.mark.parametrize(
    ("kind", "sheet", "mapped", "warnings"),
    [
        ("xls", "Jan 24", [(1, "A"), (2, "B")], {}),
        ("ods", "Mar 24", [(9, "hidden")], {}),
        ("xlsx", 1, [(1, "A"), (2, "B")], {"the hidden sheet 'Cover' is not read": 1}),
        ("xlsb", 2, [(3, "C"), (1, "E")], {"the hidden sheet 'Cover' is not read": 1}),
        ("xls", "", [(1, "A"), (2, "B")], {"the hidden sheet 'Cover' is not read": 1}),
        ("ods", "J?n*", [(1, "A"), (2, "B")], {}),
        *(
            (kind, "*24", [(1, "A"), (2, "B"), (3, "C")], {"the hidden sheet 'Mar 24' is not read": 1})
            for kind in KINDS
        ),
    ],
)
def test_sheets(tmp_path: Path, kind: str, sheet: Any, mapped: Any, warnings: dict[str, int]) -> None:
    result, size = of_sheet(tmp_path, kind, sheet=sheet)
    assert result.mapped == mapped
    assert result.metrics["warnings"] == warnings
    assert result.metrics["source"]["bytes"] == size
    if sheet == "*24":
        assert [(one["file"], one["records"]) for one in result.metrics["source"]["files"]] == [
            ("in/Jan 24", 2),
            ("in/Feb 24", 3),
        ]
        assert [(row["_lume_row"], row["_lume_file"], row["_lume_reasons"]) for row in result.rejects] == [
            ("4", "in/Feb 24", "id: is not a valid integer"),
            ("5", "in/Feb 24", "id: repeats the value of an earlier row"),
        ]


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        (
            "Jan",
            r"has no sheet 'Jan' with cells \(is not there\), but 'Cover' \(hidden\), 'Jan 24', 'Feb 24'",
        ),
        (4, r"has no visible sheet with the number 4, but 'Cover' \(hidden\), 'Jan 24'"),
        ("Mar*", r"has no visible sheet that matches 'Mar\*', but 'Cover' \(hidden\)"),
        ("*", r"in/Notes has no column 'id'"),
    ],
)
def test_sheets_that_are_not_there(tmp_path: Path, sheet: Any, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        of_sheet(tmp_path, "xls", sheet=sheet)


def test_a_workbook_of_hidden_sheets(tmp_path: Path) -> None:
    content = written("ods", {"A": Sheet([["id"], [1]], "hidden")})
    result = execute(tmp_path, content, source={"format": "excel"})
    assert (result.mapped, result.metrics["warnings"]) == ([(1,)], {})


@pytest.mark.thorough
def test_sheets_over_shards_are_read_by_one_worker(tmp_path: Path) -> None:
    engine = {"url": "here", "shard_bytes": 1, "shards": 4}
    columns = {"id": {"type": "integer", "unique": True}, "name": {}}
    files = [("a", written("xls", BOOK)), ("b", written("ods", BOOK))]
    several = {"format": "excel", "excel": {"sheet": "*24"}}
    assert compared(tmp_path / "1", files, engine, columns=columns, source=several).shards["count"] == 1
    one = {"format": "excel", "excel": {"sheet": 2}}
    outcome = compared(tmp_path / "2", files, engine, columns=columns, source=one)
    assert outcome.shards["count"] == 2
    assert outcome.metrics["warnings"] == {"the hidden sheet 'Cover' is not read": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_rejects_of_sheets_come_back(tmp_path: Path, kind: str) -> None:
    first, _ = of_sheet(tmp_path / "first", kind, sheet="*24")
    source = {"format": "excel", "excel": {"sheet": "*24", "range": "C3:D9"}, "header": {"row": 2}}
    mended = first.rejects_file.replace(b"y", b"7")
    again = execute_files(tmp_path / "csv", ("mended.csv", mended), source=source)
    assert again.mapped == [(7, "D"), (1, "E")]
    cells = [line.split(",") for line in mended.decode().replace('"', "").splitlines()]
    rows = [[value or None for value in line] for line in cells]
    again = execute_files(tmp_path / "book", ("mended", written(kind, rows)), source=source)
    assert again.mapped == [(7, "D"), (1, "E")]


GRID = [
    ["Report", None, None, None],
    [None, None, None, None],
    ["?", "Name A", "B", "C"],
    ["?", "x", 1, "?"],
    ["?", "Total y", 2, "?"],
    ["?", "z", 3, "?"],
    ["?", "Sum", 6, "?"],
    ["?", "Other", "table", "?"],
]
RANGES: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("B3:C6", {}, {"outside": 4}),
    ("b3:c7", {"footer": {"rows": 1}}, {"outside": 3, "footer": 1}),
    ("B:C", {"header": {"row": 3}, "footer": {"rows": 2}}, {"preamble": 2, "footer": 2}),
    ("B2:C6", {"header": {"row": 2}}, {"outside": 3, "preamble": 1}),
    ("B3:C", {"footer": {"rows": 2}}, {"outside": 2, "footer": 2}),
    ("3:6", {}, {"outside": 4}),
    ("B4:C6", {"header": "none", "names": ["Name A", "B"]}, {"outside": 5}),
]


@pytest.mark.parametrize(
    ("kind", "range", "more", "skipped"), [(KINDS[n % 4], *case) for n, case in enumerate(RANGES)]
)
def test_ranges(tmp_path: Path, kind: str, range: str, more: Any, skipped: dict[str, int]) -> None:
    source = {"format": "excel", "excel": {"range": range}} | more
    result = execute(tmp_path, written(kind, GRID), columns=TABLE, source=source)
    assert result.mapped == [("x", 1), ("Total y", 2), ("z", 3)]
    counts = result.metrics["source"]
    assert counts["skipped"] == skipped
    assert len(GRID) == ("names" not in more) + counts["records"] + sum(skipped.values())


MERGED = Sheet(
    [
        ["Region", "Sales", None, "k"],
        [None, "Q1", "Q2", None],
        ["North", 1, 2, "a"],
        [None, 3, 4, "b"],
        ["South", 5, 5, "c"],
        ["West", 6, None, "d"],
    ],
    merged=[(0, 1, 0, 2), (2, 0, 3, 0), (5, 1, 5, 2), (0, 0, 1, 0)],
)
OF_MERGED: dict[str, Any] = {
    "region": {"sql": '"Region"'},
    "q1": {"sql": '"Sales Q1"', "type": "integer"},
    "q2": {"sql": '"Sales Q2"', "type": "integer"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_merged_cells(tmp_path: Path, kind: str) -> None:
    content = written(kind, {"S": MERGED})
    source: dict[str, Any] = {"format": "excel", "header": {"row": 1, "lines": 2}}
    first = execute(tmp_path / "first", content, columns=OF_MERGED, source=source)
    assert first.mapped == [("North", 1, 2), (None, 3, 4), ("South", 5, 5), ("West", 6, None)]
    source["excel"] = {"merged": "fill"}
    OF_FILLED = OF_MERGED | {"region": {"sql": '"Region Region"'}}
    result = execute(tmp_path / "fill", content, columns=OF_FILLED, source=source)
    assert result.mapped == [("North", 1, 2), ("North", 3, 4), ("South", 5, 5), ("West", 6, 6)]


def test_merged_cells_are_bounded() -> None:
    rows = ((n, ["x"]) for n in range(1, 1_000_000))
    with pytest.raises(SourceError, match="book has merged cells over more than 20,000,000 others"):
        for _ in filled(rows, [Area(1, 1_048_576, 1, 16_384)], "book"):
            pass


def laid(rng: random.Random) -> tuple[Sheet, dict[str, Any], list[tuple[str, int]], dict[str, int]]:
    """A sheet with a table between other things, how it is read, the rows that it maps, and what is skipped."""
    source: dict[str, Any] = {"format": "excel", "header": "find", "comment": "#"}
    excel: dict[str, Any] = {}
    left = rng.randrange(3)
    rows, mapped, merged = list[list[Any]](), list[tuple[str, int]](), list[tuple[int, int, int, int]]()
    skipped = {"preamble": 0, "comments": 0, "blank": 0, "footer": 0, "outside": 0}

    def add(kind: str, *values: Any) -> None:
        rows.append([*[None] * left, *values] if values else [])
        if kind:
            skipped[kind] += 1

    for _ in range(outside := rng.randrange(3)):
        add("outside", "name_a", "B")
    if left or outside:
        excel["range"] = f"{column_letters(left + 1)}{outside + 1}:{column_letters(left + 2)}"
    for _ in range(rng.randrange(4)):
        add(*rng.choice([("preamble", "Report"), ("comments", "# c", "B"), ("preamble",)]))
    add("", *rng.choice([("Name A", "b"), ("NAME-A", "B")]))
    if rng.random() < 0.5:
        excel["merged"] = "fill"
    for n in range(rng.randrange(1, 20)):
        kind = rng.choice(["row", "row", "blank", "comments", "merged"]) if n else "row"
        if kind == "blank":
            add("blank")
        elif kind == "comments":
            add("comments", f"# {n}", n)
        elif kind == "merged":
            merged.append((len(rows), left, len(rows) + 1, left))
            add("", f"m{n}", n)
            add("", None, n)
            mapped += [(f"m{n}", n), (f"m{n}" if "merged" in excel else "none", n)]
        else:
            add("", f"n{n}", n)
            mapped.append((f"n{n}", n))
    if rng.random() < 0.5:
        source["footer"] = {"starts_with": ["Total"]}
        for _ in range(rng.randrange(1, 3)):
            add("footer", "Total", 1)
            if rng.random() < 0.3:
                add("comments", "# end")
    while not rows[-1]:  # what stands behind the last row of a sheet is not in the file
        rows.pop()
        skipped["blank"] -= 1
    if excel:
        source["excel"] = excel
    return Sheet(rows, merged=merged), source, mapped, {key: n for key, n in skipped.items() if n}


@seeds(30)
def test_random_sheets(tmp_path: Path, seed: int) -> None:
    kind = KINDS[seed % 4]
    sheet, source, mapped, skipped = laid(random.Random(seed))
    columns = {"a": {"from": ["Name A"], "sql": "coalesce(value, 'none')"}, "b": {"type": "integer"}}
    result = execute(tmp_path, written(kind, {"S": sheet}), columns=columns, source=source)
    assert result.mapped == mapped
    assert result.metrics["source"].get("skipped", {}) == skipped


def test_a_part_that_is_larger_than_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is read whole before its size is known, not even to see what the archive is."""
    out, read = io.BytesIO(), list[int]()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", bytes(10_000_000))
    plain = zipfile.ZipExtFile.read

    def counted(file: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        data = plain(file, n)
        read.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    with pytest.raises(RunFailed, match=r"more than source\.max_unpacked_bytes"):
        execute(tmp_path, out.getvalue(), source={"format": "excel", "max_unpacked_bytes": 1000})
    assert sum(read) < 1000


def test_numbers_of_a_binary_workbook() -> None:
    """The four forms of a short number; a long one is in `test_every_value_is_what_the_cell_shows`."""
    from lume_local._worker.sources.formats.sheets.xlsb import _rk

    forms = {0x3FF00000: 1.0, 0x3FF00001: 0.01, 123456 << 2 | 2: 123456.0, 123456 << 2 | 3: 1234.56}
    forms |= {(-7 << 2 | 2) & 0xFFFFFFFF: -7.0}
    assert {bits: _rk(bytes(8) + bits.to_bytes(4, "little")) for bits in forms} == forms


def test_records() -> None:
    data = [(1, b""), (127, b"x"), (128, b"y" * 127), (156, b"z" * 128), (700, b"w" * 200_000), (3, b"q")]
    file = io.BytesIO(b"".join(record(kind, one) for kind, one in data))
    assert list(records(file)) == data
    with pytest.raises(ValueError, match="has 3"):
        list(records(io.BytesIO(record(5, b"12345")[:-2])))


def test_texts_with_characters_that_xml_can_not_hold(tmp_path: Path) -> None:
    rows = [["id", "name"], [1, "a_x000D_b"], [2, "_x005F_x000D_"], [3, "_xD800_ _x0000_ _xyz_"]]
    result = execute_files(tmp_path, ("in", written("xlsx", rows)), source={"format": "excel"})
    assert result.mapped == [(1, "a\rb"), (2, "_x000D_"), (3, "_xD800_ _x0000_ _xyz_")]


def test_a_formula_with_an_empty_text_was_computed(tmp_path: Path) -> None:
    """As Excel saves IF(…, "")."""
    content = written("xlsx", [["id", "name"], [1, "A"], [2, None], [3, None]])
    sheet = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        text = old.read(sheet).decode()
        parts = {name: old.read(name) for name in old.namelist()}
    new = text
    for number, formula in (
        (2, '<c r="B2" t="str"><f>""</f><v></v></c>'),
        (3, '<c r="B3" t="str"><f>""</f><v/></c>'),
    ):
        new = new.replace(
            f'<c r="A{number + 1}" t="n"><v>{number}</v></c>',
            f'<c r="A{number + 1}" t="n"><v>{number}</v></c>'
            + formula.replace(f"B{number}", f"B{number + 1}"),
        )
    assert new.count("<f>") == 2
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, one in parts.items():
            archive.writestr(name, new if name == sheet else one)
    result = execute_files(tmp_path, ("in", out.getvalue()), source={"format": "excel"})
    assert result.mapped == [(1, "A"), (2, None), (3, None)]


@cache
def small(kind: str) -> bytes:
    """The same bytes each time: a workbook has the time at which it was written."""
    rows = [["id", 1.5, Error("#N/A")], [MIDNIGHT, True]]
    return written(kind, {"A": Sheet(rows, merged=[(0, 3, 1, 3)])})


@examples(100)
@given(st.data())
def test_a_damaged_workbook_is_reported(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever bytes are changed, also within the parts of an archive: rows, or a `SourceError`."""
    kind = data.draw(st.sampled_from(KINDS))
    content = small(kind)
    if kind == "xls" or data.draw(st.booleans()):
        changed = damaged(content, data)
    else:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
            names = [name for name in old.namelist() if name != "mimetype"]
            victim = data.draw(st.sampled_from(names))
            for name in old.namelist():
                new.writestr(name, damaged(old.read(name), data) if name == victim else old.read(name))
        changed = out.getvalue()
    path = tmp_path_factory.mktemp("book") / "in"
    path.write_bytes(changed)
    try:
        with opened_workbook(path, "in", 10_000_000, lambda: None) as book:
            for sheet in book.sheets:
                assert all(isinstance(number, int) for number, _ in book.rows(sheet.name))
                book.merged(sheet.name)
    except SourceError as error:
        assert str(error).startswith("in ")  # noqa: PT017


def damaged(content: bytes, data: st.DataObject) -> bytes:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    return bytes(changed[: data.draw(st.sampled_from([len(content), len(content) // 2]))])


@pytest.mark.parametrize(
    ("excel", "message"),
    [
        ({"sheet": 0}, "source.excel.sheet: must be a name, a pattern, or a number from 1 on"),
        ({"sheet": -1}, "source.excel.sheet: must be a whole number"),
        ({"sheet": True}, "source.excel.sheet: must be a"),
        ({"range": "B4"}, r'source.excel.range: .B4. is not a range such as "B4:F200"'),
        ({"range": ":"}, "is not a range"),
        ({"range": "B0:C2"}, "has no cells"),
        ({"range": "C1:B2"}, "has no cells"),
        ({"range": "B4:C3"}, "has no cells"),
        ({"range": "A1:XFE2"}, "has no cells"),
        ({"merged": "all"}, "source.excel.merged: 'all' is not one of first, fill"),
        ({"sheets": "A"}, "did you mean 'sheet'"),
    ],
)
def test_settings_that_are_wrong(excel: Any, message: str) -> None:
    with pytest.raises(FlowError, match=message):
        read_definition(people(source={"format": "excel", "excel": excel}))


def test_half_a_character(tmp_path: Path) -> None:
    """A formula can cut an emoji in two; what is no text can't be a value."""
    with pytest.raises(RunFailed, match=r"is a workbook that can't be read .*can't decode"):
        execute(tmp_path, written("xlsb", [["id"], ["a\ud800"]]), source={"format": "excel"})
