"""What reading a source produces: the account, the malformed lines, the copy for DuckDB."""

import heapq
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.sources.files import BLOCK, BOM
from lume_local._worker.sources.source import Pause

NOT_JSON = "not a JSON object"
_MALFORMED = "malformed line: "
NOT_UTF8 = f"{_MALFORMED}not valid UTF-8"
"""The reason of lines that can't be decoded."""
APART = b"\x01"
"""Between an NDJSON line as it is read and the line as it was: in strict JSON it can't stand anywhere."""
KEPT = "surrogateescape"
"""How bytes that aren't UTF-8 pass through texts here and come out as they were."""


@define
class Account:
    """What was found in the source, counted by the splitter and independently of the reader.

    Attributes:
        lines: physical lines; of line ends within quotes too.
        records: rows, and lines that can't be rows. Every one of them is mapped or rejected.
        skipped: how many of the lines (of a sheet: rows) are neither the header nor of a record: `preamble`,
            `comments`, `blank`, `footer`, and of a sheet those `outside` of the range.
        warnings: what is left out, but not as a line.
    """

    bytes: int
    lines: int = 0
    records: int = 0
    skipped: dict[str, int] = field(factory=dict)
    warnings: dict[str, int] = field(factory=dict)
    files: "list[tuple[str, Account]]" = field(factory=list)

    def skip(self, skipped: dict[str, int], times: int = 1) -> None:
        """Lines of each kind that belong to no record. Those of a file of lines are counted in `lines`, too."""
        for kind, lines in skipped.items():
            if count := self.skipped.pop(kind, 0) + times * lines:
                self.skipped[kind] = count

    def warn(self, warning: str) -> None:
        """Add a warning to those of the run."""
        self.warnings[warning] = self.warnings.get(warning, 0) + 1

    @classmethod
    def of(cls, files: "list[tuple[str, Account]]") -> "Account":
        each = [one for _, one in files]
        lines, records = sum(one.lines for one in each), sum(one.records for one in each)
        together = cls(sum(one.bytes for one in each), lines, records)
        for one in each:
            together.skip(one.skipped)
            together.warnings |= one.warnings
        together.files = files
        return together

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        counts: dict[str, Any] = {"bytes": self.bytes, "lines": self.lines, "records": self.records}
        if self.skipped:
            counts["skipped"] = dict(sorted(self.skipped.items()))
        if self.files:
            counts["files"] = [{"file": name, **one.plain()} for name, one in self.files]
        return counts


@define
class Malformed:
    """Lines that can't be rows, in files of their own: line number, reason, text.

    Lines come in their order, or in the order of several passes; each pass has its own file. In it a line is its
    number, its reason and how many bytes it has, in JSON, then these bytes: a line may be very long.
    """

    path: Path
    counts: dict[str, int] = field(factory=dict, init=False)
    _passes: list[Path] = field(factory=list, init=False)
    _file: io.BufferedWriter | None = field(default=None, init=False)
    _last: int = field(default=0, init=False)

    def add(self, line: int, why: str, raw: bytes) -> None:
        """Note one; `raw` is without its line end."""
        file, reason = self._noted(line, why)
        file.write(_entry(line, reason, len(raw)))
        file.write(raw)

    def add_long(self, line: int, why: str, parts: Iterable[bytes]) -> None:
        """The same of a text that comes in parts, and need not be held."""
        file, reason = self._noted(line, why)
        begun = file.tell()
        file.write(_entry(line, reason, 0))
        length = sum(map(file.write, parts))
        file.seek(begun)
        file.write(_entry(line, reason, length))
        file.seek(0, io.SEEK_END)

    def _noted(self, line: int, why: str) -> tuple[io.BufferedWriter, str]:
        """The file that takes it, and its reason."""
        if self._file is None or line < self._last:
            self.close()
            self._passes.append(self.path.with_suffix(f".{len(self._passes)}"))
            self._file = self._passes[-1].open("wb")
        self._last = line
        reason = f"{_MALFORMED}{why}"
        self.counts[reason] = self.counts.get(reason, 0) + 1
        return self._file, reason

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Malformed":
        made = cls(Path(plain["path"]))
        made.counts = plain["counts"]
        made._passes = [Path(path) for path in plain["passes"]]
        return made

    def plain(self) -> dict[str, Any]:
        """As JSON, once it is closed; the lines themselves stay in the files."""
        return {"path": str(self.path), "counts": self.counts, "passes": list(map(str, self._passes))}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self) -> Iterator[tuple[int, str, bytes]]:
        """Line, reason and text of each, in the order of the lines."""
        return heapq.merge(*map(self._rows_of, self._passes))

    def _rows_of(self, path: Path) -> Iterator[tuple[int, str, bytes]]:
        with path.open("rb") as file:
            while entry := file.readline():
                line, reason, length = json.loads(entry)
                yield line, reason, file.read(length)


def _entry(line: int, reason: str, length: int) -> bytes:
    """What stands before the bytes of a line, as long for every length."""
    return f"[{line}, {json.dumps(reason)}, {length:<12}]\n".encode()


class Copy:
    r"""What DuckDB is to read: the source itself while nothing in it has to change, else a copy with `\n` line ends.

    Args:
        source: the file.
        target: where the copy goes, if there is one.
        start: where in `source` to begin; a copy has nothing before it.
        line_end: of all that was kept before a copy was begun.
    """

    def __init__(self, source: Path, target: Path, start: int, line_end: bytes) -> None:
        self._source, self._target, self._start, self._line_end = source, target, start, line_end
        self._file: io.BufferedWriter | None = None
        self._has_any = False

    @property
    def begun(self) -> bool:
        return self._file is not None

    @property
    def path(self) -> Path:
        return self._target if self.begun else self._source

    def begin(self, upto: int) -> None:
        """Something has to change: from the source's byte `upto` on, only what `keep` is given will be read."""
        if self._file is not None:
            return
        self._file = self._target.open("wb")
        with self._source.open("rb") as source:
            source.seek(self._start)
            left, held = upto - self._start, b""
            while left > 0 and (block := source.read(min(left, BLOCK))):
                left -= len(block)
                block = held + block
                held = b"\r" if left and block.endswith(b"\r") else b""
                self._write(block.removesuffix(held).replace(self._line_end, b"\n"))

    def keep(self, data: bytes) -> None:
        """Records that are to be read, each with `\\n` at its end if there is a copy."""
        if self._file is not None:
            self._write(data)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        if data and not self._has_any:
            self._has_any = True
            if data.startswith(BOM):  # of the first value: DuckDB takes away what a file begins with
                self._file.write(BOM)
        self._file.write(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


Identity = tuple[str, str, str]
"""Of a reject its file (of several), the number of the row and that of the line, as texts: one of these is empty."""


@define
class CorrectedRows:
    """What is noted of corrected rejects.

    Attributes:
        rows: which rejects they are, in their order; unknown ones are empty.
        lacking: for each name that the flow reads of objects, and that a table made of them has no column for, how it
            may be spelled.
    """

    rows: list[Identity] = field(factory=list, repr=False)
    lacking: dict[str, list[str]] = field(factory=dict)


@frozen
class Reading:
    """One file that is being read.

    Attributes:
        path: the file, in UTF-8 if it is one of lines.
        shown: what messages call it.
        folder: for copies and the like; this reading's own.
        account: counts what is in the file. Its bytes are there already.
        malformed: takes what can't be a row.
        is_beginning: whether the source begins with it: only there are magic bytes and a BOM recognized.
        is_end: whether the source ends with it: only there is a footer.
        corrected: takes what is to be known of corrected rejects, if it is.
    """

    connection: DuckDBPyConnection
    path: Path
    shown: str
    flow: dict[str, Any]
    folder: Path
    account: Account
    malformed: Malformed
    pause: Pause
    is_beginning: bool = True
    is_end: bool = True
    corrected: CorrectedRows | None = None
