"""The results of reading a source: the account, the malformed lines, and the files for DuckDB."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import heapq
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby, tee
from pathlib import Path
from typing import Any, NamedTuple

from attrs import asdict, define, evolve, field, frozen
from duckdb import DuckDBPyConnection

from lume_local._shared.protocol import Json
from lume_local._worker.sources.files import BLOCK, BOM, count_lines
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sources.mending.lost_letters import MALFORMED, Identity, LostLetters
from lume_local._worker.sources.row_places import Part, Place, RowPlaces, places_of
from lume_local._worker.sources.source import Pause
from lume_local._worker.sql import RowsFile, text
from lume_local._worker.statements import PLACE, Branch, Relation

NOT_JSON = "not a JSON object"


@define
class Account:
    """The contents of the source, counted by the splitter and independently of the reader.

    Attributes:
        lines: physical lines, including line ends within quotes.
        records: rows, and lines that can't be rows. Every one of them is mapped or rejected.
        skipped: the number of lines (in a sheet: rows) outside of header and records, by kind: `preamble`,
            `comments`, `blank`, `footer`, and in a sheet those `outside` of the range.
        warnings: what was left out, except for lines.
        layout: the layout of a file; empty for a version without layouts.
        rows_of: for corrected rejects, the number of rows of each layout.
        footer: the cells of the rows of the footer that are neither blank nor comments.
        visible: the places among the cells of the columns that the flow reads, by its names.
    """

    bytes: int
    lines: int = 0
    records: int = 0
    skipped: dict[str, int] = field(factory=dict)
    warnings: dict[str, int] = field(factory=dict)
    files: "list[tuple[str, Account]]" = field(factory=list)
    layout: str = ""
    rows_of: dict[str, int] = field(factory=dict)
    footer: list[list[str]] = field(factory=list)
    visible: dict[str, int] = field(factory=dict)

    def skip(self, skipped: dict[str, int], times: int = 1) -> None:
        """Count lines of each kind that belong to no record; in a file of lines, `lines` counts them, too."""
        for kind, lines in skipped.items():
            if count := self.skipped.pop(kind, 0) + times * lines:
                self.skipped[kind] = count

    def warn(self, warning: str) -> None:
        """Add a warning to the run's."""
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
        counts: dict[str, Any] = {"bytes": self.bytes, "lines": self.lines, "records": self.records}
        if self.skipped:
            counts["skipped"] = dict(sorted(self.skipped.items()))
        if self.files:
            counts["files"] = [
                {"file": name, **({"layout": one.layout} if one.layout else {}), **one.plain()}
                for name, one in self.files
            ]
        return counts

    def by_layout(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of files and rows of each layout, as JSON."""
        found: dict[str, dict[str, Any]] = {
            layout: {"files": 0, "rows_read": rows} for layout, rows in self.rows_of.items()
        }
        for one in () if found else (account for _, account in self.files) if self.files else (self,):
            counts = found.setdefault(one.layout, {"files": 0, "rows_read": 0})
            counts["files"] += 1
            counts["rows_read"] += one.records
        return found


@frozen
class RefusedLine:
    """A line that can't be a row.

    Attributes:
        raw: the line, without its line end.
        file: for a line of corrected rejects, the file where it was first, if known.
        form: how it is read once it is corrected, if known.
        layout: for a line of corrected rejects, the layout of that file, if it has one.
    """

    why: str
    raw: bytes
    file: str = ""
    form: LineForm | None = None
    layout: str = ""


class MalformedLine(NamedTuple):
    """A line that can't be a row, as it is noted; sorted by the number of the line.

    Attributes:
        file: for corrected rejects, the file where it was first; in the lines of several files, its file.
        layout: the layout of that file, if it has one.
        path: the path of an object in its file.
    """

    line: int
    reason: str
    file: str
    layout: str
    raw: bytes
    path: str = ""


@define
class Malformed:
    """Lines that can't be rows, in files of their own: line number, reason, text.

    Lines come in order, or in the order of several passes, each with its own file. There a line is stored as its
    number, reason, file, layout and length in JSON, then its bytes: a line may be very long.

    Attributes:
        layout: the layout of all lines without their own.
        places: where the rows between them are.
        forms: how the text lines of each file are read; None if they have several forms, or none is known.
    """

    path: Path
    layout: str = ""
    places: RowPlaces = field(factory=RowPlaces, init=False)
    counts: dict[str, int] = field(factory=dict, init=False)
    forms: dict[str, LineForm | None] = field(factory=dict, init=False)
    _passes: list[Path] = field(factory=list, init=False)
    _file: io.BufferedWriter | None = field(default=None, init=False)
    _last: int = field(default=0, init=False)

    def add(self, line: int, why: str, raw: bytes, of: str = "", layout: str = "") -> None:
        """Note a line `of` a file; `raw` is without its line end."""
        file, about = self._noted(line, why, of, layout)
        file.write(_entry(about, len(raw)))
        file.write(raw)

    def refuse(self, line: int, refused: RefusedLine) -> None:
        self.note_form(refused.file, refused.form)
        self.add(line, refused.why, refused.raw, refused.file, refused.layout)

    def add_long(self, line: int, why: str, parts: Iterable[bytes]) -> None:
        """Note a line whose text comes in parts, and need not be held."""
        file, about = self._noted(line, why)
        begun = file.tell()
        file.write(_entry(about, 0))
        length = sum(map(file.write, parts))
        file.seek(begun)
        file.write(_entry(about, length))
        file.seek(0, io.SEEK_END)

    def note_form(self, file: str, form: LineForm | None) -> None:
        """Note how a line of a file is read."""
        self.forms[file] = form if self.forms.get(file, form) == form else None

    def _noted(
        self, line: int, why: str, of: str = "", layout: str = ""
    ) -> tuple[io.BufferedWriter, list[Any]]:
        """Return the file for a line, and the data before its text there."""
        if self._file is None or line < self._last:
            self.close()
            self._passes.append(self.path.with_suffix(f".{len(self._passes)}"))
            self._file = self._passes[-1].open("wb")
        self._last = line
        reason = f"{MALFORMED}{why}"
        self.counts[reason] = self.counts.get(reason, 0) + 1
        return self._file, [line, reason, of, layout or self.layout]

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Malformed":
        made = cls(Path(plain["path"]))
        made.counts = plain["counts"]
        made.forms = {file: form and LineForm.read(form) for file, form in plain["forms"].items()}
        made._passes = [Path(path) for path in plain["passes"]]
        made.places = RowPlaces(**plain["places"])
        return made

    def plain(self) -> dict[str, Any]:
        """Return it as JSON, once it is closed; the lines themselves stay in the files."""
        forms = {file: form and asdict(form) for file, form in self.forms.items()}
        passes = list(map(str, self._passes))
        about: dict[str, Any] = {"path": str(self.path), "counts": self.counts, "passes": passes}
        return about | {"forms": forms, "places": asdict(self.places)}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def parts(self) -> list[Part]:
        """The parts of the file that were read apart."""
        return [(0, self.places, self.others)]

    def others(self) -> Iterator[tuple[int, int]]:
        """Yield each line, and the number of lines that its text has in a file with quotes."""
        for one in self.rows():
            yield one.line, 1 + (count_lines(one.raw) if self.places.csv else 0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self) -> Iterator[MalformedLine]:

        def rows_of(path: Path) -> Iterator[MalformedLine]:
            with path.open("rb") as file:
                while entry := file.readline():
                    *about, length = json.loads(entry)
                    line, reason, of, layout = about
                    yield MalformedLine(line, reason, of, layout, file.read(length))

        return heapq.merge(*map(rows_of, self._passes))


def _entry(about: list[Any], length: int) -> bytes:
    """Return the entry before the bytes of a line; its size is the same for every length."""
    return f"{json.dumps(about)[:-1]}, {length:<12}]\n".encode()


class Copy:
    r"""The file for DuckDB: the source itself while nothing in it has to change, else a copy with `\n` line ends.

    Args:
        target: where the copy goes, if there is one.
        start: where in `source` to begin; a copy omits what precedes it.
        line_end: the line end of everything kept before a copy was begun.
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
        """Begin a copy: after the source's byte `upto`, only data given to `keep` will be read."""
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
        """Keep records to be read, each with `\\n` at its end if there is a copy."""
        if self._file is not None:
            self._write(data)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        if data and not self._has_any:
            self._has_any = True
            if data.startswith(BOM):  # a part of the first value: DuckDB removes a BOM at the beginning
                self._file.write(BOM)
        self._file.write(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@define
class CorrectedRows:
    """Notes about corrected rejects.

    Attributes:
        rows: the identities of the rejects, in order; unknown ones are empty.
        lacking: names that the flow reads from objects, but that a table made of them lacks, with their possible
            spellings.
        runs: the runs that the rows name as theirs.
        is_placeless: whether a row has a number among the rejects, but no place in its file.
    """

    rows: list[Identity] = field(factory=list, repr=False)
    lacking: dict[str, list[str]] = field(factory=dict)
    runs: set[str] = field(factory=set)
    is_placeless: bool = False

    def note(self, file: str, row: str, line: str, run: Any, reject: Any) -> None:
        self.rows.append((file, row, line))
        self.runs |= {str(run)} if run else set()
        self.is_placeless |= bool(reject and not row + line)


@frozen
class ReturnOrigin:
    """The run whose rejects are read.

    Attributes:
        lines: how its malformed lines are read, from its record; None if it has no record and read a single file.
        layouts: the layouts of its files by their names, from its record; by an empty name if it had only one.
    """

    lines: list[Json] | None = None
    lost: LostLetters = field(factory=LostLetters)
    layouts: dict[str, str] = field(factory=dict)


@frozen
class Reading:
    """One file that is being read.

    Attributes:
        path: the file, in UTF-8 if it consists of lines.
        shown: its name in messages.
        folder: this reading's own folder, for copies and the like.
        account: counts the file's contents; it already has its bytes.
        malformed: collects lines that can't be rows.
        is_beginning: whether the source begins with it: only there are magic bytes and a BOM recognized.
        is_end: whether the source ends with it: only there is a footer.
        corrected: collects notes about corrected rejects, if wanted.
        origin: the run of corrected rejects.
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
    origin: ReturnOrigin = field(factory=ReturnOrigin)


class Together(NamedTuple):
    """Several files as one source.

    Attributes:
        relation: their columns; the rows, too, if it has readers.
        places: of each file, the number of each of its columns among these.
        own: the same among the columns of the files with its layout.
    """

    relation: Relation
    places: list[list[int]]
    own: list[list[int]]


class ReadFile(NamedTuple):
    """A file that was read.

    Attributes:
        shown: its name in `_lume_file`.
        rows: the number of rows that its relation has.
    """

    relation: Relation
    shown: str
    rows: int
    layout: str = ""


def one_after_the_other(files: Sequence[ReadFile], *, is_joined: bool) -> Together:
    """Return all rows of all files, each with the name of its file in `_lume_file` if there are several.

    Files with layouts are in a branch a layout. If that is another order than that of the files, or the rows of each
    branch are joined with others later, rows are numbered in the order of the files.
    """
    columns = columns_together([one.relation for one in files], [one.layout for one in files])
    relation, layouts = columns.relation, [layout for layout, _ in groupby(one.layout for one in files)]
    if not relation.branches and len(files) == 1:
        return columns._replace(relation=files[0].relation)
    is_mixed = len(layouts) > len(set(layouts)) or (is_joined and len(layouts) > 1)
    relation = evolve(relation, is_numbered=is_mixed)
    readers = dict[str, list[str]]()
    before = 0
    for file, places in zip(files, columns.own, strict=True):
        readers.setdefault(file.layout, []).append(rows_in(relation, file, places, before))
        before += file.rows
    return columns._replace(
        relation=relation.read_by([" UNION ALL ".join(each) for each in readers.values()])
    )


def columns_together(relations: Sequence[Relation], layouts: Sequence[str]) -> Together:
    """Return the combined columns of several files, without readers; those of layouts by the names in the files."""
    of_layout = dict[str, list[Relation]]()
    for layout, relation in zip(layouts, relations, strict=True):
        of_layout.setdefault(layout, []).append(relation)
    own = {layout: _common_columns(of) for layout, of in of_layout.items()}
    together = _of_layouts(own) if layouts[0] else own[layouts[0]]
    together = evolve(together, of_files=together.of_files or len(relations) > 1)
    at = {one.layout: one.places for one in together.branches}
    keys = {layout: {key: n for n, key in enumerate(_keys(one))} for layout, one in own.items()}
    both = zip(layouts, relations, strict=True)
    in_layout = [[keys[layout][key] for key in _keys(relation)] for layout, relation in both]
    in_all = [
        [at[layout][n] for n in places] if layout else places
        for layout, places in zip(layouts, in_layout, strict=True)
    ]
    return Together(together, in_all, in_layout)


def _common_columns(relations: Sequence[Relation]) -> Relation:
    """Return the combined columns of files that are read in the same way."""
    raw: dict[tuple[str, int], str] = {}
    for relation in relations:
        for key, name in zip(_keys(relation), relation.raw, strict=True):
            raw.setdefault(key, name)
    at = {key: n for n, key in enumerate(raw)}
    return Relation(
        "",
        tuple(raw.values()),
        {name: at[name, _READ] for name in relations[0].visible},
        relations[0].json_lines,
        of_files=relations[0].of_files,
        unknown=tuple(dict.fromkeys(name for relation in relations for name in relation.unknown)),
        members=tuple(dict.fromkeys(name for relation in relations for name in relation.members)),
        aliases=joint_aliases(relations),
    )


def _of_layouts(own: dict[str, Relation]) -> Relation:
    """Return the combined columns of layouts. Of objects there is what is read, by the name in the objects."""
    names = {
        layout: [(one.aliases.get(name) or [name])[0] if one.json_lines else name for name in one.raw]
        for layout, one in own.items()
    }
    keys = {layout: _read_first(each, own[layout].visible.values()) for layout, each in names.items()}
    raw: dict[tuple[str, int], str] = {}
    for layout, each in names.items():
        for key, name in zip(keys[layout], each, strict=True):
            raw.setdefault(key, name)
    number = {key: n for n, key in enumerate(raw)}
    branches = (
        Branch(layout, "", one.visible, tuple(number[key] for key in keys[layout]), one)
        for layout, one in own.items()
    )
    return Relation("", tuple(raw.values()), {}, branches=tuple(branches))


def _read_first(names: Sequence[str], read: Collection[int]) -> list[tuple[str, int]]:
    """Return the keys of names, of which the first of namesakes is one that is read.

    Another layout may spell it like one that is not: in rejects, they are one column, or a name would mean another.
    """
    order = sorted(range(len(names)), key=lambda n: n not in read)
    keys = dict(zip(order, _numbered(names[n] for n in order), strict=True))
    return [keys[n] for n in range(len(names))]


def _numbered(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield each name without its case, and its number among namesakes."""
    seen = Counter[str]()
    for name in names:
        lower = name.lower()
        seen[lower] += 1
        yield lower, seen[lower]


def joint_aliases(relations: Sequence[Relation]) -> dict[str, list[str]]:
    names = dict.fromkeys(name for relation in relations for name in relation.aliases)
    return {
        name: list(dict.fromkeys(one for relation in relations for one in relation.aliases.get(name, ())))
        for name in names
    }


def rows_in(together: Relation, file: ReadFile, places: Sequence[int], before: int = 0) -> str:
    """Return a query for the rows of one file in the columns of all, or of all with its layout.

    Args:
        together: the columns of all files.
        places: the number of each of the file's columns among those.
        before: the number of rows before the file's.
    """
    own = {place: n for n, place in enumerate(places)}
    width = len(together.raw)
    for branch in together.branches:
        if branch.layout == file.layout:
            width = len(branch.places)
    # A column that the file lacks is NULL.
    items = [f"{f'_lume_s{own[n]}' if n in own else 'NULL::VARCHAR'} AS _lume_s{n}" for n in range(width)]
    if together.json_lines:
        items.append("_lume_line_text")
    if together.of_files:
        items.append(f"{text(file.shown)} AS _lume_file")
    if together.is_numbered:
        items.append(f"{before} + row_number() OVER () - 1 AS {PLACE}")
    return f"SELECT {', '.join(items) or '1 AS _lume_none'} FROM ({file.relation.reader})"


_READ = 0


def _keys(relation: Relation) -> Iterator[tuple[str, int]]:
    """Yield each column as its name and its number among namesakes; the flow's name for one that it reads."""
    read = {n: name for name, n in relation.visible.items()}
    others = _numbered(name for n, name in enumerate(relation.raw) if n not in read)
    for n in range(len(relation.raw)):
        yield (read[n], _READ) if n in read else next(others)


@frozen
class AllMalformed:
    """The lines of all files that can't be rows.

    Attributes:
        path: the file that holds them for DuckDB.
    """

    by_file: list[tuple[str, Malformed]]
    path: Path

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for _, malformed in self.by_file:
            for reason, count in malformed.counts.items():
                counts[reason] = counts.get(reason, 0) + count
        return counts

    @property
    def total(self) -> int:
        return sum(malformed.total for _, malformed in self.by_file)

    def rows(self) -> Iterator[MalformedLine]:
        for shown, malformed in self.by_file:
            each, again = tee(malformed.rows())
            places = malformed.places.located(one.line for one in again)
            for one, (_, path) in zip(each, places, strict=True):
                yield one._replace(file=self._name(shown, one.file), path=path)

    def places(self, wanted: Iterable[int]) -> Iterator[Place]:
        """Return the place of each of these rows of all files, which are in order."""
        return places_of(wanted, [part for _, malformed in self.by_file for part in malformed.parts])

    def forms(self, all_places: Sequence[Sequence[int]]) -> Iterator[tuple[str, LineForm | None]]:
        """Yield how each file's lines are read, by the columns of all (see `Together`)."""
        for (shown, malformed), places in zip(self.by_file, all_places, strict=True):
            for file, form in malformed.forms.items():
                yield self._name(shown, file), form and form.placed(places)

    def _name(self, shown: str, file: str) -> str:
        """Return `_lume_file`: for a single file of corrected rejects, the file where they were first."""
        return shown if len(self.by_file) > 1 else file

    def reader(self) -> str:
        r"""Return SQL for `file`, `line`, `reasons`, `layout`, `line_text`, `path`; non-UTF-8 bytes become `\xff`."""
        with closing(RowsFile(self.path, 6)) as file:
            for one in self.rows():
                raw = one.raw.decode("utf-8", "backslashreplace") or None
                file.write((one.file, str(one.line), one.reason, one.layout, raw, one.path))
        names = "_lume_s0 AS file, _lume_s1::BIGINT AS line, _lume_s2 AS reasons, _lume_s3 AS layout"
        return f"SELECT {names}, _lume_s4 AS line_text, _lume_s5 AS path FROM ({file.reader})"
