"""Reads real files with other programs than the server's: Python's csv and json, calamine, pyarrow, lxml."""

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

from lume_local._flow.patterns import Pattern

csv.field_size_limit(100_000_000)


class NoReader(Exception):
    """There is no other reader for such a file."""


class Table(NamedTuple):
    """A table as another program reads it.

    Attributes:
        names: the names of its columns.
        columns: their values.
        is_exact: whether its values are texts as in the file.
    """

    names: list[str]
    columns: list[list[Any]]
    count: int
    is_exact: bool = False

    def column(self, name: str, place: int, width: int) -> list[Any] | None:
        """The values of a column, by its name if that is its only one, or else by its place."""
        found = [n for n, one in enumerate(self.names) if one.strip() == name.strip()]
        if len(found) == 1:
            return self.columns[found[0]]
        return self.columns[place] if width == len(self.names) else None


def read(path: Path, source: dict[str, Any]) -> Table:
    """Read the file as the flow's `[source]` says."""
    kind = source["format"]
    if kind == "excel":
        return of_workbook(path, source)
    if kind == "parquet":
        return of_parquet(path)
    tables = [of_text(unpacked(data), source) for data in members_of(path, source)]
    if len(tables) == 1:
        return tables[0]
    if not all(first_names(tables) <= {*one.names} for one in tables):
        raise NoReader(f"an archive of {len(tables)} tables with different columns")
    columns = [[*chain(*(one.columns[one.names.index(name)] for one in tables))] for name in tables[0].names]
    return Table(tables[0].names, columns, sum(one.count for one in tables), tables[0].is_exact)


def first_names(tables: Sequence[Table]) -> set[str]:
    """The columns of the first member, which all members have; none twice."""
    names = {*tables[0].names}
    if not names or len(names) < len(tables[0].names):
        raise NoReader(f"an archive of {len(tables)} tables without distinct names")
    return names


def of_text(data: bytes, source: dict[str, Any]) -> Table:
    kind = source["format"]
    if kind == "csv":
        return of_csv(data, source)
    if kind == "fixed":
        return of_fixed(data, source)
    if kind == "xml":
        return of_xml(data, source)
    return of_json(data, source)


def members_of(path: Path, source: dict[str, Any]) -> Iterator[bytes]:
    """The file, or what the flow reads of an archive."""
    data = path.read_bytes()
    if not data.startswith(b"PK\x03\x04"):
        yield data
        return
    wanted = source.get("members", "**")
    patterns = [Pattern(one) for one in ([wanted] if isinstance(wanted, str) else wanted)]
    with ZipFile(path) as archive:
        names = [one for one in sorted(archive.namelist()) if not one.endswith("/") and "__MACOSX" not in one]
        found = [one for one in names if any(pattern.matches(one) for pattern in patterns)]
        if not found:
            raise NoReader("an archive whose members have other names")
        yield from map(archive.read, found)


def unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def of_csv(data: bytes, source: dict[str, Any]) -> Table:
    options = source["csv"]
    encoding = options.get("encoding", "utf-8")
    # As a run: lines that are not valid in the encoding would have been rejected.
    text = data.decode(encoding).removeprefix("\ufeff")
    lines = list(text.splitlines(keepends=True)) if "comment" in source else None
    if lines is not None:
        text = "".join(line for line in lines if not line.startswith(source["comment"]))
    dialect: dict[str, Any] = {"delimiter": options.get("delim", ",")}
    if options.get("quote") == "":
        dialect["quoting"] = csv.QUOTE_NONE
    elif "escape" in options:
        dialect |= {"escapechar": options["escape"], "doublequote": False}
    head = source.get("header")
    if isinstance(head, dict) and "contains" in head:  # each line alone, as quotes above it may be open
        at = 0
        for line in text.splitlines(keepends=True):
            with suppress(csv.Error, StopIteration):
                if {*head["contains"]} <= {cell.strip() for cell in next(csv.reader([line], **dialect))}:
                    text = text[at:]
                    break
            at += len(line)
    rows = list(csv.reader(io.StringIO(text, newline=""), **dialect))
    width = max(map(len, rows[:1]), default=0)
    rows = [row for row in rows if row or (width == 1 and row != rows[0])]
    names = source["names"] if head == "none" else rows.pop(0)
    # A row of blanks, or short of its last cells, is the server's to reject: then it isn't compared here.
    rows = [row or [""] for row in rows if len(row) == len(names) or any(row) or len(names) == 1]
    if any(len(row) != len(names) for row in rows):
        raise NoReader("rows of several widths")
    return Table(
        names,
        [[row[n] or None for row in rows] for n in range(len(names))],
        len(rows),
        True,
    )


def of_fixed(data: bytes, source: dict[str, Any]) -> Table:
    fixed = source["fixed"]
    lines = data.decode(fixed.get("encoding", "utf-8")).removeprefix("\ufeff").splitlines()
    lines = [line for line in lines if line.strip()]
    lines = lines[1:] if "header" in source else lines
    columns = [[line[a - 1 : b].strip() or None for line in lines] for a, b in fixed["columns"].values()]
    return Table(list(fixed["columns"]), columns, len(lines), True)


def of_json(data: bytes, source: dict[str, Any]) -> Table:
    text = data.decode("utf-8-sig")
    if source["format"] == "ndjson":
        records = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        records = values_in(text)
        if way := source.get("json", {}).get("records"):
            for step in way.split(".") if isinstance(way, str) else way:
                records = [
                    one[step] for one in flat(records) if isinstance(one, dict) and one.get(step) is not None
                ]
        records = list(flat(records))
    found = [dict(members(one)) for one in records if isinstance(one, dict)]
    if len(found) != len(records):
        raise NoReader("values that are not objects")
    names = list(dict.fromkeys(name for one in found for name in one))
    return Table(names, [[one.get(name) for one in found] for name in names], len(found))


def values_in(text: str) -> list[Any]:
    with suppress(ValueError):
        value = json.loads(text)
        return value if isinstance(value, list) else [value]
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def flat(values: Sequence[Any]) -> Iterator[Any]:
    for one in values:
        if isinstance(one, list):
            yield from one
        else:
            yield one


def members(value: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield above + name, inner  # a flow may stop here
            yield from members(inner, f"{above}{name}.")
        else:
            yield above + name, inner


def of_parquet(path: Path) -> Table:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = parquet.read_table(path)
    columns = []
    for column in table.columns:
        # A float of 32 bits has 9 digits at most; as one of 64 bits it would show the digits beyond them.
        is_short = column.type == arrow.float32()
        values = column.to_pylist(maps_as_pydicts="strict")
        columns.append([None if one is None else float(f"{one:.7g}") if is_short else one for one in values])
    return Table(list(table.column_names), columns, table.num_rows)


def of_workbook(path: Path, source: dict[str, Any]) -> Table:
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(str(path))
    visible = [one.name for one in book.sheets_metadata if str(one.visible).endswith("Visible")]
    name = source.get("excel", {}).get("sheet", visible[0])
    rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    rows = [[None if cell == "" else cell for cell in row] for row in rows]
    rows = [row for row in rows if any(cell is not None for cell in row)]
    head = source.get("header")
    if isinstance(head, dict) and "contains" in head:
        wanted = {*head["contains"]}
        while rows and not wanted <= {str(plain(cell)) for cell in rows[0]} | {
            str(c).strip() for c in rows[0]
        }:
            rows.pop(0)
    names = source["names"] if head == "none" else [str(plain(cell) or "") for cell in rows.pop(0)]
    return Table(names, [[row[n] for row in rows] for n in range(len(names))], len(rows))


def of_xml(data: bytes, source: dict[str, Any]) -> Table:
    from lxml import etree

    way = list(source["xml"]["records"].split("/"))
    root = etree.fromstring(data, etree.XMLParser(huge_tree=True, resolve_entities=False))
    found = [root] if etree.QName(root).localname == way[0] else []
    for step in way[1:]:
        found = [
            inner
            for one in found
            for inner in one
            if isinstance(inner.tag, str) and etree.QName(inner).localname == step
        ]
    return Table([], [], len(found))


def plain(value: Any, is_exact: bool = False) -> Any:
    """A form in which a value of another reader and the server's text of it are equal."""
    if value is None or is_exact:
        return value or None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return json.dumps(canonical(value), sort_keys=True, default=str)
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, (date, datetime, time)):
        value = value.isoformat()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(int(value.total_seconds()), 60)
        value = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = str(value).strip()
    if text[:1] in ("[", "{"):
        with suppress(ValueError):
            return json.dumps(canonical(json.loads(text)), sort_keys=True, default=str)
    with suppress(ValueError):
        number = float(text)
        return "nan" if math.isnan(number) else float(f"{number:.12g}")
    moment = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|\+00(:?00)?)?", text)
    if moment:
        rest = moment[2] + (moment[3] or ":00") + (moment[4] or "").rstrip("0").rstrip(".")
        return moment[1] if rest == "00:00:00" else f"{moment[1]}T{rest}"
    return {"True": "true", "False": "false", "": None}.get(text, text)


def canonical(value: Any) -> Any:
    """A nested value with numbers as the server has them: some are strings there, to keep all their digits."""
    if isinstance(value, list):
        return [canonical(one) for one in value]
    if isinstance(value, dict):
        return {str(name): canonical(one) for name, one in value.items()}
    return value if value is None or isinstance(value, bool) else plain(value)


def fits(value: Any, text: str | None, column: dict[str, Any]) -> bool:
    """Return whether a typed value is that of the text."""
    if text is None or value is None:
        return value is None or (text is None and not str(value).strip())
    kind, form = column.get("type", "string"), column.get("format")
    text = text.strip()
    if kind == "integer":
        return bool(int(text) == value)
    if kind == "number":
        return math.isclose(float(text), float(value), rel_tol=1e-12) or float(text) == float(value)
    if kind == "boolean":
        return bool((text.lower() == "true") is value)
    if form == "date":
        return bool(value == date.fromisoformat(text))
    if form == "date-time":
        wanted = datetime.fromisoformat(text)
        if wanted.tzinfo is not None and value.tzinfo is not None:
            return bool(value == wanted)
        return bool(value.replace(tzinfo=None) == wanted.replace(tzinfo=None))
    return bool(str(value).strip() == text)
