"""A source file made ready for one strict scan: line ends, encoding, header. Stdlib only.

DuckDB reads strictly here: its lenient mode changes values without a word. But its strict reader gives up on
a file that mixes `\\r\\n` and `\\n`, and knows few encodings: such files are first written anew, beside the run.
"""

# ruff: noqa: S608 - the parts of its SQL are constants, compiled or quoted.
import csv
import difflib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_local._worker.checks import text
from lume_local._worker.statements import Layout

_BLOCK = 4 * 1024 * 1024
_LONGEST_HEADER = 1024 * 1024


class SourceError(Exception):
    """The source can't be read as the flow expects. The message says what was expected, found, and to do."""


@frozen
class Snapshot:
    """What identifies a file's content cheaply, to see that nobody wrote to it while it was read."""

    size: int
    modified_ns: int
    inode: int


def snapshot(path: Path, looked_up: str = "") -> Snapshot:
    """A file's identity now. Raises `SourceError` where it isn't a readable file.

    `looked_up` is for its message: how the path came about.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
    except FileNotFoundError:
        raise SourceError(
            f"there is no file {path}{looked_up}: put it there, then submit the run again"
        ) from None
    except IsADirectoryError:
        raise SourceError(f"{path} is a folder: name one file in it") from None
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror or error}") from None
    return Snapshot(found.st_size, found.st_mtime_ns, found.st_ino)


def prepare(path: Path, flow: dict[str, Any], folder: Path) -> Path:
    """The file itself, or a copy in `folder` with one kind of line end and in UTF-8."""
    encoding = flow["encoding"].lower().replace("_", "-")
    quote = flow["csv"]["quote"] if flow["format"] == "csv" else ""
    current = path
    if encoding not in ("utf-8", "utf8", "ascii", "us-ascii", "utf-8-sig"):
        current = _recode(path, encoding, folder / "recoded")
    if _mixes_line_ends(current):
        current = _even_out(current, quote.encode(), folder / "source")
    return current


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _mixes_line_ends(path: Path) -> bool:
    r"""Whether the file holds more than one of `\n`, `\r\n`, `\r`. In doubt yes: then it is only copied."""
    kinds: set[str] = set()
    pending = False
    for block in _blocks(path):
        if b"\r" not in block and not pending:  # most files: one fast look is enough
            kinds |= {"\n"} if b"\n" in block else set()
            continue
        both = block.count(b"\r\n")
        returns, feeds = block.count(b"\r") - both, block.count(b"\n") - both
        if pending and block.startswith(b"\n"):
            both, feeds = both + 1, feeds - 1
        elif pending:
            kinds.add("\r")
        pending = block.endswith(b"\r")
        kinds |= {name for name, n in (("\r\n", both), ("\r", returns - pending), ("\n", feeds)) if n}
    if pending:
        kinds.add("\r")
    return len(kinds) > 1


def _even_out(path: Path, quote: bytes, target: Path) -> Path:
    r"""Write every line end outside quotes as `\n`; what is inside quotes is data and stays as it is."""
    inside, held = False, b""
    with target.open("wb") as out:
        for block in _blocks(path):
            block = held + block
            held = b"\r" if block.endswith(b"\r") else b""
            block = block.removesuffix(held) if held else block
            pieces = block.split(quote) if quote else [block]
            for number, piece in enumerate(pieces):
                inside ^= number > 0
                out.write(quote if number else b"")
                out.write(piece if inside else piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        out.write(b"\n" if held else b"")
    return target


def _recode(path: Path, encoding: str, target: Path) -> Path:
    """Write the file anew in UTF-8."""
    try:
        with (
            path.open(encoding=encoding, newline="") as file,
            target.open("w", encoding="utf-8", newline="") as out,
        ):
            while block := file.read(_BLOCK):
                out.write(block)
    except UnicodeError as error:
        raise SourceError(
            f"{path} is not {encoding}: {error}; say its encoding in [source] csv.encoding"
        ) from None
    return target


def layout(path: Path, flow: dict[str, Any], shown: Path) -> Layout:
    """How to read the prepared file at `path`; messages call it `shown`. Raises `SourceError`."""
    return _csv_layout(path, flow, shown) if flow["format"] == "csv" else _json_layout(path, flow)


def _csv_layout(path: Path, flow: dict[str, Any], shown: Path) -> Layout:
    names = _header(path, flow["csv"], shown)
    positions: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        positions.setdefault(name.lower(), []).append(n)
    visible: dict[str, int] = {}
    for name, place in flow["sources"].items():
        found = positions.get(name.lower(), [])
        if len(found) != 1:
            raise SourceError(_column_trouble(flow, shown, name, place, names, len(found)))
        visible[name] = found[0]
    columns = ", ".join(f"'_lume_s{n}': 'VARCHAR'" for n in range(len(names)))
    options = flow["csv"]
    escape = options["escape"] or options["quote"]
    reader = (
        f"SELECT * FROM read_csv({text(str(path))}, auto_detect=false, header=true, columns={{{columns}}}, "
        f"delim={text(options['delim'])}, quote={text(options['quote'])}, escape={text(escape)}, nullstr='', "
        "strict_mode=true, store_rejects=true, rejects_table='_lume_errors', rejects_scan='_lume_scans')"
    )
    return Layout(reader, tuple(names), visible)


def _header(path: Path, options: dict[str, Any], shown: Path) -> list[str]:
    """The names in the first line. DuckDB skips that line unread, since it is told the columns."""
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    try:
        head = start.decode("utf-8-sig", errors="strict" if len(start) < _LONGEST_HEADER else "replace")
    except UnicodeDecodeError:
        head = start.decode("utf-8-sig", errors="replace")
    quote = options["quote"]
    rows = csv.reader(
        io.StringIO(head, newline=""),
        delimiter=options["delim"],
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=options["escape"] if options["escape"] not in ("", quote) else None,
    )
    try:
        names = [name.strip() for name in next(rows, [])]
    except csv.Error as error:
        raise SourceError(f"the header of {shown} can't be read: {error}") from None
    if not any(names):
        raise SourceError(f"{shown} has no header: its first line must name the columns")
    return names


def _column_trouble(
    flow: dict[str, Any], shown: Path, name: str, place: str, names: list[str], found: int
) -> str:
    listed = ", ".join(repr(one) for one in names[:30]) + (", …" if len(names) > 30 else "")
    if found:
        return f"the header of {shown} names {name!r} {found} times; {flow['ref']} reads it ({place}): rename one"
    spelled = {one.lower(): one for one in names}
    if delim := _other_delimiter(flow, names):
        return (
            f"{shown} has no column {name!r}, which {flow['ref']} reads ({place}): its header is one column, "
            f"{listed}. It looks like the delimiter is {delim!r}: register a new flow version that says csv.delim = "
            f"{json.dumps(delim)} in [source], then submit the run again"
        )
    near = difflib.get_close_matches(name.lower(), spelled, 1, 0.7)
    hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
    return (
        f"{shown} has no column {name!r}, which {flow['ref']} reads ({place}). Found: {listed}.{hint} "
        "Mend the header or register a new flow version, then submit the run again"
    )


def _other_delimiter(flow: dict[str, Any], names: list[str]) -> str | None:
    """The delimiter that would give columns that the flow reads, where its own gives a single one."""
    if len(names) != 1:
        return None
    wanted = {name.lower() for name in flow["sources"]}
    quote = flow["csv"]["quote"]
    hits: dict[str, int] = {}
    for delim in ";,\t|":
        pieces = {piece.strip().strip(quote or None).strip().lower() for piece in names[0].split(delim)}
        hits[delim] = len(wanted & pieces) if len(pieces) > 1 else 0
    best = max(hits, key=lambda delim: hits[delim])
    return best if hits[best] else None


def _json_layout(path: Path, flow: dict[str, Any]) -> Layout:
    """One JSON object per line, read as lines, so that a bad line is kept and costs only itself."""
    names = tuple(flow["sources"])
    pointers = ", ".join(text("/" + name.replace("~", "~0").replace("/", "~1")) for name in names)
    fields = "".join(f", _lume_fields[{n + 1}] AS _lume_s{n}" for n in range(len(names)))
    lines = (
        f"SELECT _lume_line_text FROM read_csv({text(str(path))}, auto_detect=false, header=false, "
        "columns={'_lume_line_text': 'VARCHAR'}, delim='\x01', quote='', escape='', strict_mode=true, "
        "store_rejects=true, rejects_table='_lume_errors', rejects_scan='_lume_scans')"
    )
    judged = (
        "SELECT *, NOT coalesce(CASE WHEN json_valid(_lume_line_text) "
        "THEN json_type(_lume_line_text) = 'OBJECT' END, false) AS _lume_malformed "
        f"FROM ({lines}) WHERE trim(_lume_line_text) <> ''"
    )
    read = f"json_extract_string(_lume_line_text, [{pointers}])" if names else "NULL"
    parsed = f"SELECT *, CASE WHEN NOT _lume_malformed THEN {read} END AS _lume_fields FROM ({judged})"
    reader = f"SELECT _lume_line_text, _lume_malformed{fields} FROM ({parsed})"
    return Layout(reader, names, {name: n for n, name in enumerate(names)}, json_lines=True)
