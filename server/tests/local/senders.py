"""Twenty senders of one table, each with a layout of its own, and runs of versions with layouts in this process."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import evolve, frozen
from local.one_run import Result, carried_out, fetch, job_of, read_rejects
from local.workbooks import Sheet, written

from lume_local._flow.definition import read_definition
from lume_local._shared.protocol import Execute
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.engine import Run
from lume_local._worker.one_process import Instances, SmallFiles, place_of
from lume_local._worker.steps import Context

COLUMNS: dict[str, Any] = {
    "order_id": {"type": "integer", "required": True},
    "amount": {"type": "number", "sql_type": "DECIMAL(12,2)"},
    "note": {},
}
Row = tuple[str, str, str]
"""An order, its amount and a note, as texts; the amount has a point, and may be no number."""


def definition(layouts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"flow": "orders", "version": "v1", "columns": COLUMNS, "layouts": layouts, **changes}


def run(
    folder: Path,
    layouts: dict[str, Any],
    *files: tuple[str, bytes],
    rejects: str = ".csv",
    mapped: str = ".parquet",
    job: dict[str, Any] | None = None,
    layout: str = "",
    headers: dict[str, list[str]] | None = None,
    **changes: Any,
) -> Result:
    """Run a version with these layouts over files, whose names are shown."""
    more = {"layout": layout, "headers": headers or {}, **(job or {})}
    return run_version(folder, definition(layouts, **changes), *files, rejects=rejects, mapped=mapped, **more)


def run_version(
    folder: Path,
    version: dict[str, Any],
    *files: tuple[str, bytes],
    rejects: str = ".csv",
    mapped: str = ".parquet",
    is_small: bool = False,
    **job: Any,
) -> Result:
    """Run a version over files; `is_small` is whether by the instance that small runs share."""
    (folder / "run").mkdir(parents=True)
    paths = [folder / name for name, _ in files]
    for path, (_, content) in zip(paths, files, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    target = folder / f"rejects{rejects}"
    with connect() as connection:  # another one than the run's, as on a server
        flow = compile_flow(connection, read_definition(version))
    with connect() as connection:
        made = job_of(flow, folder / "run", paths, folder / f"mapped{mapped}", target)
        for file in made.source["files"]:
            file["shown"] = file["below"] = Path(file["path"]).relative_to(folder).as_posix()
        made = evolve(made, **job)
        record = _small(made) if is_small else carried_out(connection, made)
    at = target if target.exists() else target.with_name("none")
    content = at.read_bytes() if record["target_locations"]["rejects"] else b""
    rows = read_rejects(content, flow) if rejects == ".csv" else []
    found = [
        tuple(None if value is None else str(value) if n == 1 else value for n, value in enumerate(row))
        for row in fetch(f"{folder}/mapped{mapped}")
    ]
    return Result(record["metrics"], found, content, rows)


def _small(job: Execute) -> dict[str, Any]:
    place = place_of(job)
    assert place is not None
    with Instances().connection(job, place) as connection:
        context = Context(connection, job, lambda name, rows: None)
        return Run(context, SmallFiles(context, place)).execute()


@frozen
class Sender:
    """One that writes orders its own way.

    Attributes:
        write: makes a file of rows.
        has_lines: whether a file has lines that may be malformed, which `broken` appends.
    """

    name: str
    suffix: str
    layout: dict[str, Any]
    write: Callable[[Sequence[Row]], bytes]
    broken: bytes = b""

    @property
    def single(self) -> dict[str, Any]:
        """A version for its files alone."""
        columns = dict[str, Any]()
        for name, column in COLUMNS.items():
            read = self.layout["columns"].get(name, "NULL")
            columns[name] = {**column, **({"sql": read} if isinstance(read, str) else read)}
        made = {"flow": "orders", "version": "v1", "columns": columns}
        return made | ({"source": self.layout["source"]} if "source" in self.layout else {})

    def file(self, rows: Sequence[Row], *, is_broken: bool = False) -> bytes:
        content = self.write(rows)
        return content + self.broken if is_broken else content


def _lines(delim: str, header: str, end: str = "\n", encoding: str = "utf-8", quote: str = "") -> Any:
    def write(rows: Sequence[Row]) -> bytes:
        body = [delim.join(f"{quote}{value}{quote}" if value else "" for value in row) for row in rows]
        return (end.join([header, *body]) + end).encode(encoding)

    return write


def _with_comma(rows: Sequence[Row]) -> list[Row]:
    return [(order, amount.replace(".", ","), note) for order, amount, note in rows]


def _swapped(write: Callable[[Sequence[Any]], bytes]) -> Callable[[Sequence[Row]], bytes]:
    """Write the note first."""
    return lambda rows: write([(note, order, amount) for order, amount, note in rows])


def _objects(make: Callable[[Row], Any]) -> Callable[[Sequence[Row]], bytes]:
    return lambda rows: "".join(json.dumps(make(row), ensure_ascii=False) + "\n" for row in rows).encode()


def _xml(rows: Sequence[Row]) -> bytes:
    body = "".join(
        f'<order nr="{no}"><sum>{amount}</sum><text>{note}</text></order>' for no, amount, note in rows
    )
    return f'<?xml version="1.0"?>\n<orders>{body}</orders>'.encode()


def _parquet(rows: Sequence[Row]) -> bytes:
    out = io.BytesIO()
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    names = ("p_order", "p_amount", "p_note")
    table = pa.table(
        {
            name: pa.array([one or None for one in each], pa.string())
            for name, each in zip(names, columns, strict=True)
        }
    )
    pq.write_table(table, out)
    return out.getvalue()


def _book(rows: Sequence[Row]) -> bytes:
    cells = [[value or None for value in row] for row in rows]
    return written("xlsx", [["Order", "Net", "Words"], *cells])


def _titled_book(rows: Sequence[Row]) -> bytes:
    cells = [[value or None for value in row] for row in rows]
    above = [["Orders of today"], [], ["Order no", "Gross", "Words"]]
    return written("xlsx", {"About": Sheet([["nothing"]]), "Data": Sheet([*above, *cells])})


def _fixed(rows: Sequence[Row], above: str = "") -> bytes:
    return (above + "".join(f"{no:>8}{amount:>12}{note:<10}\n" for no, amount, note in rows)).encode()


def _plain(order: str, amount: str, note: str) -> dict[str, Any]:
    return {"order_id": f'"{order}"', "amount": f'"{amount}"', "note": f'"{note}"'}


_WIDTHS = {"no": [1, 8], "amount": [9, 20], "note": [21, 30]}
_BY_COMMA = "parse_money(value, ',')"

SENDERS = [
    Sender(
        "plain", ".csv", {"columns": _plain("id", "total", "note")}, _lines(",", "id,total,note"), b'"x\n'
    ),
    Sender(
        "mueller",
        ".csv",
        {
            "source": {
                "header": {"contains": ["Betrag"]},
                "footer": {"starts_with": ["Summe"]},
                "csv": {"delim": ";", "encoding": "cp1252"},
            },
            "columns": {
                "order_id": {"from": ["Bestell-Nr.", "Bestellnummer"]},
                "amount": {"from": ["Betrag"], "sql": _BY_COMMA},
                "note": {"from": ["Größe"]},
            },
        },
        lambda rows: (
            _lines(";", "Liste\nGröße;Bestellnummer;Betrag", encoding="cp1252")(
                [(note, no, amount) for no, amount, note in _with_comma(rows)]
            )
            + b"Summe;;9\n"
        ),
    ),
    Sender(
        "tabs",
        ".tsv",
        {"source": {"csv": {"delim": "\t", "encoding": "latin-1"}}, "columns": _plain("Nr", "Summe", "Text")},
        _swapped(_lines("\t", "Text\tNr\tSumme", "\r\n", "latin-1")),
        b'"\xfc\r\n',
    ),
    Sender(
        "quoted",
        ".txt",
        {"source": {"csv": {"delim": "|", "quote": "'"}}, "columns": _plain("no", "sum", "text")},
        _lines("|", "no|sum|text", quote="'"),
        b"'1'|'2'\n",
    ),
    Sender(
        "bare",
        ".csv",
        {"source": {"csv": {"delim": ";", "quote": ""}}, "columns": _plain("order", "price", "remark")},
        _lines(";", "order;price;remark"),
        b"1;2;3;4\n",
    ),
    Sender(
        "third_row",
        ".csv",
        {
            "source": {"header": {"row": 3}, "comment": "#"},
            "columns": {
                "order_id": '"c_id"',
                "amount": '"c_total"',
                "note": """coalesce("c_note", 'none')""",
            },
        },
        _lines(",", "Orders\n# as of today\nc_id,c_total,c_note"),
    ),
    Sender(
        "nameless",
        ".csv",
        {
            "match": "**/*nameless*",
            "source": {"header": "none", "names": ["a", "b", "c"], "null": ["n/a"]},
            "columns": _plain("a", "b", "c"),
        },
        lambda rows: _lines(",", "")(rows)[1:],
        b"1\n",
    ),
    Sender(
        "two_lines",
        ".csv",
        {
            "source": {"header": {"row": 1, "lines": 2}},
            "columns": _plain("order no", "order net", "words"),
        },
        _lines(",", "order,,words\nno,net,"),
    ),
    Sender(
        "wide",
        ".csv",
        {"source": {"csv": {"encoding": "utf-16"}}, "columns": _plain("w_id", "w_total", "w_note")},
        _lines(",", "w_id,w_total,w_note", encoding="utf-16"),
    ),
    Sender(
        "escaped",
        ".csv",
        {"source": {"csv": {"escape": "\\"}}, "columns": _plain("e_id", "e_total", "e_note")},
        _lines(",", "e_id,e_total,e_note", quote='"'),
        b'"\\\n',
    ),
    Sender(
        "by_width",
        ".dat",
        {
            "match": "**/*by_width.*",
            "source": {"format": "fixed", "fixed": {"columns": _WIDTHS}},
            "columns": _plain("no", "amount", "note"),
        },
        _fixed,
        b"short\n",
    ),
    Sender(
        "by_width_below",
        ".dat",
        {
            "source": {"format": "fixed", "header": {"contains": ["ORDERS"]}, "fixed": {"columns": _WIDTHS}},
            "columns": _plain("no", "amount", "note"),
        },
        lambda rows: _fixed(rows, f"{'ORDERS':30}\n"),
        b"short\n",
    ),
    Sender(
        "lines",
        ".ndjson",
        {"source": {"format": "ndjson"}, "columns": _plain("j_id", "j_total", "j_note")},
        _objects(lambda row: {"j_id": row[0], "j_total": row[1] or None, "j_note": row[2] or None}),
        b'{"j_id": 1,}\n',
    ),
    Sender(
        "deep_lines",
        ".ndjson",
        {"source": {"format": "ndjson"}, "columns": _plain("head.id", "body.total", "body.note")},
        _objects(lambda row: {"head": {"id": row[0]}, "body": {"total": row[1], "note": row[2] or None}}),
        b"[]\n",
    ),
    Sender(
        "records",
        ".json",
        {
            "source": {"format": "json", "json": {"records": "data.orders"}},
            "columns": {
                "order_id": {"from": ["r_id", "r_no"]},
                "amount": '"r_total"',
                "note": '"r_note"',
            },
        },
        lambda rows: json.dumps(
            {
                "data": {
                    "orders": [
                        {"r_no": no, "r_total": amount, "r_note": note or None} for no, amount, note in rows
                    ]
                }
            }
        ).encode(),
    ),
    Sender(
        "array",
        ".json",
        {"source": {"format": "json"}, "columns": _plain("a_id", "a_total", "a_note")},
        lambda rows: json.dumps(
            [{"a_id": no, "a_total": amount, "a_note": note or None} for no, amount, note in rows]
        ).encode(),
    ),
    Sender(
        "xml",
        ".xml",
        {
            "source": {"format": "xml", "xml": {"records": "orders/order"}},
            "columns": _plain("@nr", "sum", "text"),
        },
        _xml,
    ),
    Sender(
        "book",
        ".xlsx",
        {"source": {"format": "excel"}, "columns": _plain("Order", "Net", "Words")},
        _book,
    ),
    Sender(
        "titled_book",
        ".xlsx",
        {
            "source": {"format": "excel", "excel": {"sheet": "Data"}, "header": {"contains": ["Gross"]}},
            "columns": _plain("Order no", "Gross", "Words"),
        },
        _titled_book,
    ),
    Sender(
        "parquet",
        ".parquet",
        {"source": {"format": "parquet"}, "columns": _plain("p_order", "p_amount", "p_note")},
        _parquet,
    ),
]
LAYOUTS = {one.name: one.layout for one in SENDERS}


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()
