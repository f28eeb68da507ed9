"""Recognises the layout of each file by its path or by the names in it, never by its rows.

A layout fits a table if all columns that it reads are there once, optional ones too, and objects if the first of them
have what its required columns read. Whatever is read for that is read once for all layouts: a version may have many.
"""

import codecs
import json
import shlex
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain, islice, product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from attrs import evolve, frozen
from duckdb import DuckDBPyConnection

from lume_async._base.words import listed
from lume_local._flow.patterns import Pattern
from lume_local._flow.source_settings import OBJECTS
from lume_local._flow.table_bounds import LOOKED_AT, folded
from lume_local._shared import magic
from lume_local._worker.sources.files import apart_from_encoding, is_utf8_file, is_utf8_name
from lume_local._worker.sources.formats.json import values_of
from lume_local._worker.sources.formats.names import fitting_columns, readable, spellings
from lume_local._worker.sources.formats.parquet import column_names
from lume_local._worker.sources.formats.sheets.book import Row
from lume_local._worker.sources.formats.sheets.excel import header_in, opened, sheets_of, table_of
from lume_local._worker.sources.formats.text.csv import FirstLines, start_of
from lume_local._worker.sources.formats.text.dialect import Dialect, FixedWidth, grammar_of
from lume_local._worker.sources.formats.text.encoding import mark_beside
from lume_local._worker.sources.formats.xml import records_of
from lume_local._worker.sources.intake import Account, Malformed, Reading
from lume_local._worker.sources.mending.door import holds_rejects, reader_of_rejects
from lume_local._worker.sources.source import File, Pause, SourceError
from lume_local._worker.statements import form_of

T = TypeVar("T")

_LINES = ("csv", "fixed")
_DELIMS = (b",", b";", b"\t", b"|")
_MOST_OBJECTS = 100
"""Objects in which the members are looked for."""
_MOST_ROWS = LOOKED_AT + 10
"""Rows of a sheet in which its header must be."""


def recognised(
    connection: DuckDBPyConnection,
    files: list[File],
    flow: dict[str, Any],
    folder: Path,
    pause: Pause,
    *,
    forced: str = "",
) -> list[File]:
    """Return the files with their layouts (see `Recognition`). Raises `SourceError`.

    Those of a version without layouts, and a file of corrected rejects, have none.
    """
    if not flow["layouts"]:
        return files
    recognition, found = Recognition(connection, flow, folder, pause, forced), list[File]()
    for file in files:
        found.append(recognition.of(file))
        if not found[-1].layout and len(files) > 1:
            raise SourceError(f"{file.shown} holds corrected rejects: submit them alone, for their run")
    return found


class Recognition:
    """Recognises the layouts of one version.

    Args:
        connection: one that may read the files.
        folder: where nothing is written: a place for readings.
        forced: the layout that all files have, if the request names it.
    """

    def __init__(
        self, connection: DuckDBPyConnection, flow: dict[str, Any], folder: Path, pause: Pause, forced: str
    ) -> None:
        self._connection, self._flow, self._folder, self._pause = connection, flow, folder, pause
        self._known = {name: _Known.of(name, form_of(flow, name)) for name in flow["layouts"]}
        self._forced = forced

    def by_path(self, shown: str, paths: Iterable[str]) -> str:
        """Return the layout that a file has whatever is in it; empty if it has to be opened.

        Raises `SourceError`: the path matches several.
        """
        if self._forced:
            return self._forced
        # A URL has an empty part, which no pattern has.
        plain = ["/".join(filter(None, path.split("/"))) for path in paths]
        found = [one for one in self._known.values() if any(map(one.matches, plain))]
        if len(found) > 1:
            raise SourceError(
                f"the path of {shown} matches the layouts {_listed(found)} of {self._flow['ref']}: let only one "
                "match it, in a new flow version, or name the layout when you submit the run"
            )
        return found[0].name if found else ""

    def of(self, file: File) -> File:
        """Return the file with its layout and its format. Raises `SourceError`: it has none, or several."""
        self._pause()
        forms = [one.form for one in self._known.values()]
        beginning = _Beginning(self._connection, file, forms, self._folder, self._pause)
        if beginning.holds_rejects(self._flow):
            return evolve(file, format=self._flow["format"])  # each row has the layout of its file
        name = self.by_path(file.shown, file.paths)
        one = self._known[name] if name else _by_names(beginning, list(self._known.values()), self._flow)
        return evolve(file, layout=one.name, format=one.form["format"])


@frozen(slots=False)
class _Known:
    """A layout to compare files with.

    Attributes:
        wanted: for each name that it reads, the lower-case and the folded spellings; the latter only of aliases.
        contains: what its header contains, folded, if that is looked for.
        needed: the names that its required columns read.
    """

    name: str
    form: dict[str, Any]
    patterns: tuple[Pattern, ...]
    wanted: dict[str, tuple[frozenset[str], frozenset[str]]]
    contains: frozenset[str]
    needed: frozenset[str]
    grammar: Dialect | FixedWidth | None

    @classmethod
    def of(cls, name: str, form: dict[str, Any]) -> "_Known":
        wanted = {}
        for one in form["sources"]:
            spelled = spellings(form, one)
            is_aliased = one.lower() in form["aliases"]
            lower = frozenset(spelling.lower() for spelling in spelled)
            wanted[one] = lower, frozenset(map(folded, spelled)) if is_aliased else frozenset()
        return cls(
            name,
            form,
            tuple(map(Pattern, form["match"])),
            wanted,
            frozenset(map(folded, form["header"]["contains"])),
            frozenset(form["required"]),
            grammar_of(form) if form["format"] in _LINES else None,
        )

    @property
    def names_its_columns(self) -> bool:
        """Whether the flow has the names, so that those in a header mean nothing."""
        return bool(self.form["header"]["names"] or (self.form["fixed"] or {}).get("names"))

    @property
    def sought(self) -> int:
        """The number of names that must be in a file."""
        if self.form["format"] in OBJECTS:
            return len(self.needed)
        return len(self.contains if self.names_its_columns else self.wanted)

    def matches(self, path: str) -> bool:
        return any(pattern.matches(path) for pattern in self.patterns)

    def missing(self, names: "_Names") -> list[str]:
        """Return what it reads, or looks for, that is not among the names."""
        if self.names_its_columns:
            return sorted(self.contains - names.folds)
        return [
            one
            for one, (lower, folds) in self.wanted.items()
            if lower.isdisjoint(names.lower) and folds.isdisjoint(names.folds)
        ]


class _Names(NamedTuple):
    """Names in a file, to be compared with those that layouts read."""

    lower: frozenset[str]
    folds: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str]) -> "_Names":
        each = set(names)
        return cls(frozenset(one.lower() for one in each), frozenset(map(folded, each)))


class _Fit(NamedTuple):
    """How a layout fits a file.

    Attributes:
        why: why it can't be read; empty if it can.
        lacks: the names that it reads, but that are not there once.
        read: the number of the file's columns that it reads.
        is_all: whether it reads all columns of the file.
    """

    why: str = ""
    lacks: Sequence[str] = ()
    read: int = 0
    is_all: bool = False


# -- by names


def _by_names(beginning: "_Beginning", known: Sequence[_Known], flow: dict[str, Any]) -> _Known:
    """Return the layout that fits best. Raises `SourceError`."""
    shown, formats = beginning.file.shown, beginning.formats
    rivals = [one for one in known if not one.patterns]
    fits = [(one, beginning.fit(one)) for one in rivals if one.form["format"] in formats]
    fitting = [(one, fit) for one, fit in fits if not fit.lacks and not fit.why]
    if not fitting:
        beginning.check_opened()
        # Whoever sends a file chooses its name, and this is pasted into a shell.
        how = f"To add a layout for it: lume flow map {flow['ref']} {shlex.quote(shown)}"
        raise SourceError(
            f"{shown} has none of the layouts of {flow['ref']}. {_nearest(beginning, fits)}"
            f"{_unmatched(beginning.file, known)}. {how}"
        )
    best = max((fit.read, fit.is_all) for _, fit in fitting)
    found = [one for one, fit in fitting if (fit.read, fit.is_all) == best]
    if len(found) > 1:
        found = _by_encoding(found, beginning)
    if len(found) > 1:
        raise SourceError(
            f"{shown} has each of the layouts {_listed(found)} of {flow['ref']}, which read equally many of its "
            'columns: name the layout when you submit the run, or give them match = "…", the paths of their files, '
            "in a new version"
        )
    return found[0]


def _by_encoding(found: list[_Known], beginning: "_Beginning") -> list[_Known]:
    """Choose among layouts that differ only in their encoding: text that is UTF-8 is hardly ever something else."""
    first, *others = (apart_from_encoding(one.form) for one in found)
    if any(one != first for one in others):
        return found
    is_utf8 = is_utf8_file(beginning.file.path, beginning.pause)
    return [one for one in found if is_utf8_name(one.form["encoding"]) == is_utf8] or found


def _listed(found: Sequence[_Known]) -> str:
    return " and ".join(repr(one.name) for one in found[:5])


def _distance(one: _Known, fit: _Fit) -> float:
    return 1 if fit.why else len(fit.lacks) / max(1, one.sought)


def _nearest(beginning: "_Beginning", fits: Sequence[tuple[_Known, _Fit]]) -> str:
    formats = beginning.formats
    if not beginning.start.strip():
        return "It is empty"
    if not fits:
        return f"It is {beginning.kind}, which none of those without match is"
    for one, fit in fits:
        if (fit.lacks or one.form["format"] in _LINES) and (where := beginning.elsewhere(one)):
            return f"Nearest is {one.name!r}: {where}"
    # What lacks everything is as far as what can't be read: text that begins like JSON is hardly CSV.
    one, fit = min(
        fits, key=lambda each: (_distance(*each), formats.index(each[0].form["format"]), bool(each[1].why))
    )
    names = (" or ".join(map(repr, spellings(one.form, name)[:5])) for name in fit.lacks)
    return (
        f"Nearest is {one.name!r}: {fit.why or f'the file has no single column {listed([*names], 10, str)}'}"
    )


def _unmatched(file: File, known: Sequence[_Known]) -> str:
    is_told = file.paths and any(one.patterns for one in known)
    return f", and no match fits its path {file.paths[0]!r}" if is_told else ""


class _Beginning:
    """The beginning of a file, read at most once in each way that layouts read it."""

    def __init__(
        self,
        connection: DuckDBPyConnection,
        file: File,
        forms: Sequence[dict[str, Any]],
        folder: Path,
        pause: Pause,
    ) -> None:
        self.file, self.pause = file, pause
        self._connection, self._folder, self._forms = connection, folder, forms
        with file.path.open("rb") as opened_file:
            self.start = start_of(opened_file)
            self._is_whole = not opened_file.read(1)
        self._found: dict[Hashable, Any] = {}

    def holds_rejects(self, flow: dict[str, Any]) -> bool:
        """Return whether these are corrected rejects of the version."""
        if self.formats == ("excel",):
            with suppress(ModuleNotFoundError, SourceError):
                return self._once("book", self._book)[0]
            return False
        return reader_of_rejects(self._reading(flow), flow["format"]) is not None

    @property
    def kind(self) -> str:
        return magic.kind_of(self.start[: magic.LENGTH]) or "a text file"

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that the file may have, by its first bytes."""
        kind = magic.kind_of(self.start[: magic.LENGTH])
        if kind in (magic.ZIP, magic.OLE):
            return ("excel",)
        if kind == magic.PARQUET:
            return ("parquet",)
        if kind not in (None, magic.XML):
            return ()
        first = self.start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1]
        if first == b"<":
            return ("xml",) if kind == magic.XML else ("xml", *_LINES)
        return ("json", "ndjson", *_LINES) if first in (b"{", b"[") else _LINES

    def check_opened(self) -> None:
        """Raise `SourceError`: it is damaged, so that no layout has seen its names."""
        for key in ("book", "parquet"):
            if isinstance(error := self._found.get(key), SourceError):
                raise error

    def fit(self, one: _Known) -> _Fit:
        """Compare the names with those that a layout reads."""
        if one.names_its_columns and not one.contains:
            if len(self._forms) > 1:  # it would take the files of others, with their columns swapped
                return _Fit(why="its files name no columns, so it needs match")
            return _Fit(read=len(one.wanted))
        try:
            if one.form["format"] in OBJECTS:
                return self._fit_of_members(one)
            return self._fit_of_columns(one, self._header(one))
        except SourceError as error:
            return _Fit(why=str(error))

    def _fit_of_columns(self, one: _Known, names: list[str] | _Fit) -> _Fit:
        if isinstance(names, _Fit):
            return names
        if one.names_its_columns:  # the file has none of these names, only what the header contains
            return _Fit(read=len(one.contains))
        key = ("columns", *names)
        columns, there = self._once(key, lambda: (made := readable(names), _Names.of(made)))
        # The quick comparison first: nearly all layouts are ruled out by it.
        if missing := one.missing(there):
            return _Fit(lacks=missing)
        found = fitting_columns(one.form, columns)
        if wrong := [name for name, places in found.items() if len(places) != 1]:
            return _Fit(lacks=wrong)
        read = {n for places in found.values() for n in places}
        return _Fit(read=len(read), is_all=len(read) == len(columns))

    def _header(self, one: _Known) -> list[str] | _Fit:
        """Return the names in the header as the layout reads it, or what the file lacks. Raises `SourceError`."""
        form = one.form
        if form["format"] == "parquet":
            return self._once("parquet", lambda: column_names(self._reading(form)))
        if form["format"] == "excel":
            return self._near(one) or header_in(iter(self._rows(form)), form, self.file.shown, Account(0))
        assert one.grammar is not None
        lines = self._lines(form, one.grammar)
        return self._near(one) or lines.header(form, self.file.shown).names

    def _near(self, one: _Known) -> _Fit | None:
        """Return what all lines together lack, if the layout searches them for its header."""
        if one.form["header"]["row"] or one.form["header"]["lines"] > 1:
            return None
        missing = one.missing(self._named(one.form, one.grammar)[1])
        return _Fit(lacks=missing) if missing else None

    def elsewhere(self, one: _Known) -> str:
        """Return where the names of a layout are: in another line, or read in another way; else nothing."""
        form, encodings, grammars = one.form, [one.form["encoding"]], [one.grammar]
        if form["format"] not in (*_LINES, "excel") or form["header"]["lines"] > 1 or not one.sought:
            return ""
        if isinstance(own := one.grammar, Dialect):
            grammars += [evolve(own, delim=mark) for mark in _DELIMS if mark not in (own.delim, own.quote)]
        if own is not None:
            encodings += [mark_beside(self.start, form["encoding"]) or "utf-8", "cp1252"]
        for encoding, grammar in product(dict.fromkeys(encodings), grammars):
            if own is not None and self._text(encoding) is None:
                continue
            lines, every = self._named(form | {"encoding": encoding}, grammar)
            # The quick comparison first, as a version may have many layouts.
            line = 0 if one.missing(every) else next((n for n, each in lines if not one.missing(each)), 0)
            row, by = form["header"]["row"], list[str]()
            below = f" in line {line}, not in line {row}" if row not in (0, line) else ""
            if encoding != form["encoding"]:
                by.append(f"it is read as {encoding} (csv.encoding), not as {form['encoding']}")
            if isinstance(grammar, Dialect) and grammar is not own:
                by.append(f"{grammar.delim.decode()!r} separates its columns, not {form['csv']['delim']!r}")
            if line and not (by or below):
                return ""
            if line:
                how = ': header = "find" in its source would find them' if below else ""
                return f"the file has its names{below}{' if ' * bool(by)}{' and '.join(by)}{how}"
        return ""

    def _named(
        self, form: dict[str, Any], grammar: Dialect | FixedWidth | None
    ) -> tuple[list[tuple[int, _Names]], _Names]:
        """Return the names in each line that can be a header, and in all of them."""
        found = self._rows(form) if grammar is None else self._lines(form, grammar)

        def read() -> tuple[list[tuple[int, _Names]], _Names]:
            lines = found.names() if isinstance(found, FirstLines) else found
            stripped = ((n, [(name or "").strip() for name in names]) for n, names in lines)
            each = [(n, (*names, *readable(names))) for n, names in stripped]
            every = _Names.of(chain(*(names for _, names in each)))
            return [(n, _Names.of(names)) for n, names in each], every

        return self._once(("named", id(found)), read)  # which stays in `_found`

    def _rows(self, form: dict[str, Any]) -> list[Row]:
        """Return the first rows of the sheet that a layout reads. Raises `SourceError`."""
        rows = self._once("book", self._book)[1][json.dumps(form["excel"])]
        if isinstance(rows, SourceError):
            raise rows
        return rows

    def _lines(self, form: dict[str, Any], grammar: Dialect | FixedWidth) -> FirstLines:
        """Return the first lines of a text. Raises `SourceError`: it has another encoding."""
        encoding = form["encoding"]
        if (text := self._text(encoding)) is None:
            raise SourceError(f"its encoding is not {encoding}")
        key = encoding, grammar, form["comment"], form["header"]["lines"]
        return self._once(("lines", *key), lambda: FirstLines.of(text, grammar, form))

    def _fit_of_members(self, one: _Known) -> _Fit:
        form = one.form
        key = "members", form["format"], *form["records"]
        members = self._once(key, lambda: self._members(form))
        read = [name for name in one.wanted if not members.isdisjoint(spellings(form, name))]
        if missing := one.needed.difference(read):
            return _Fit(lacks=sorted(missing))
        top = {name for name in members if "." not in name}
        return _Fit(read=len(read), is_all=top <= {name.partition(".")[0] for name in read})

    def _members(self, form: dict[str, Any]) -> set[str]:
        """Return the members of the first objects, nested ones as in `address.city`. Raises `SourceError`."""
        read = (name for each in self._forms for one in each["sources"] for name in spellings(each, one))
        deepest = max((name.count(".") for name in read), default=0)
        found = set[str]()
        with closing(self._objects(form)) as objects:
            try:
                for one in islice(objects, _MOST_OBJECTS):
                    found.update(_paths(one, deepest))
            except SourceError:
                if not found:
                    raise  # else whoever reads it will say what is wrong below
        return found

    def _objects(self, form: dict[str, Any]) -> Any:
        reading = self._reading(form)
        if form["format"] == "xml":
            return (record for record, *_ in records_of(reading))
        return (one for one in map(_parsed, self._values(form, reading)) if isinstance(one, dict))

    def _values(self, form: dict[str, Any], reading: Reading) -> Iterator[str | bytes]:
        if form["format"] == "json":
            yield from (value for value, *_ in values_of(reading))
            return
        start = self.start
        if not self._is_whole and len(start.splitlines()) < 2:  # its first line is longer
            with self.file.path.open("rb") as file:
                start = file.read(form["max_line_bytes"])
        lines = start.removeprefix(codecs.BOM_UTF8).splitlines()
        yield from lines if self._is_whole else lines[:-1] or lines

    def _book(self) -> tuple[bool, dict[str, list[Row] | SourceError]]:
        """Return whether the workbook holds rejects, and the first rows of each sheet that a layout reads.

        These are by its settings, and all at once: opening a workbook may take long. Raises `SourceError`.
        """
        found = dict[str, list[Row] | SourceError]()
        with opened(self._reading(self._forms[0])) as book:
            for form in self._forms:
                settings, reading = json.dumps(form["excel"]), self._reading(form)
                if form["format"] != "excel" or settings in found:
                    continue
                try:
                    with closing(table_of(reading, sheets_of(reading, book)[0])) as rows:
                        found[settings] = list(islice(rows, _MOST_ROWS))
                except SourceError as error:
                    found[settings] = error
            return holds_rejects(book), found

    def _text(self, encoding: str) -> bytes | None:
        """Return the beginning in UTF-8; None if it is not in that encoding."""
        return self._once(("text", encoding), lambda: self._decoded(encoding))

    def _decoded(self, encoding: str) -> bytes | None:
        if mark_beside(self.start, encoding):
            return None
        if is_utf8_name(encoding):
            return self.start
        with suppress(UnicodeError):  # as in `recode`
            decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
            return decoder.decode(self.start, self._is_whole).encode("utf-8", "surrogatepass")
        return None

    def _once(self, key: Hashable, read: Callable[[], T]) -> T:
        """Return what was read, and raise the error again that it was refused with."""
        if key not in self._found:
            try:
                self._found[key] = read()
            except SourceError as error:
                self._found[key] = error
        found: T | SourceError = self._found[key]
        if isinstance(found, SourceError):
            raise found
        return found

    def _reading(self, form: dict[str, Any]) -> Reading:
        about = self.file.path, self.file.shown, form, self._folder
        return Reading(self._connection, *about, Account(0), Malformed(self._folder / "none"), self.pause)


def _parsed(value: str | bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _paths(value: dict[str, Any], deepest: int) -> Iterator[str]:
    """Yield the names of members, and of those within so many others: objects may be nested thousands of times."""
    level = [("", value)]
    for _ in range(deepest + 1):
        below = list[tuple[str, dict[str, Any]]]()
        for above, one in level:
            for name, inner in one.items():
                yield above + name
                if isinstance(inner, dict):
                    below.append((f"{above}{name}.", inner))
        level = below
