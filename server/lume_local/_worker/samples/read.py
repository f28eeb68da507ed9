"""Reads a sample of any format, or an archive of samples: its layout, the start of its table, its columns."""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from glob import escape
from itertools import islice
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from attrs import evolve, field, frozen

from lume_async._base.elided import elided
from lume_async._base.words import counted, listed
from lume_async.errors import ConfigurationError
from lume_local._flow.fields import CONTROL
from lume_local._flow.patterns import MOST_FILES, Pattern
from lume_local._samples.encodings import encoding_of
from lume_local._samples.fixed_width import FixedColumns, fixed_columns
from lume_local._samples.infer import (
    SampleColumn,
    controls,
    delimiter,
    doubts,
    infer,
    judge,
    likelier_delimiter,
    null_words,
    of_malformed,
    of_names,
    trailing_delimiter,
)
from lume_local._samples.member_tables import HEAD, is_note, patterns_for, tables_of
from lume_local._samples.opening import Opening, OpenSample, ReadSample, SampleParts, SampleRows
from lume_local._samples.raw import (
    RawFile,
    copy_head,
    is_xml,
    json_format,
    objects,
    refuse_binary,
    refuse_other_json,
)
from lume_local._samples.record_paths import RecordPath, names_in, path_in_json, path_in_xml
from lume_local._samples.table_start import Start, footer_of, sheet_of, split, start_of_lines
from lume_local._shared import magic
from lume_local._shared.compressed import INCOMPLETE, OPENERS, SUFFIXES, incomplete
from lume_local._shared.failing import require
from lume_local._worker.compiler.expressions import CLOCKS
from lume_local._worker.sources.formats.sheets import workbook
from lume_local._worker.sources.places.unpack import DAMAGED, Packed, members_of, reading_zip
from lume_local._worker.sources.source import SourceError, no_pause

_LINES_READ, _ROWS = 100_000, 10_000
"""Lines to read, and to try guesses on; rows spread over them, to guess from."""
_BLOCK, _MOST_UNPACKED = 1024**2, 1024**3
"""Bytes to copy at a time; the maximum for a document that is read as a whole."""
_UNPACKED = 10 * 1024**3
"""Bytes; the default of `source.max_unpacked_bytes`."""
_MOST_COLUMNS, _NAMED = 2000, 20
"""Maximum columns of a flow, and names listed in a doubt."""
_LINES, _ENDING = 200, 10
"""Lines from which the delimiter is guessed; last ones that may be a footer."""
_KINDS: dict[str | None, Literal["parquet", "excel"]] = {
    magic.PARQUET: "parquet",
    magic.ZIP: "excel",
    magic.OLE: "excel",
}
_QUOTING: tuple[dict[str, str], ...] = ({}, {"escape": "\\"}, {"quote": ""})
"""Settings to try in this order if quotes are broken: the first with the fewest malformed lines is used."""
_QUOTED = re.compile(r"\s*\".*\"\s*", re.DOTALL)
_DELIMITS = re.compile(r"(?<!\d),(?! )|,(?![\d ])")
"""A comma that is neither within a number nor followed by a blank."""
_BROKEN = "malformed line: broken quotes"
_OTHERS = 10
"""Maximum number of other tables of an archive that are named."""


@frozen
class Sample:
    """The analysis of a sample.

    Attributes:
        columns: its judged columns.
        source: the flow's `[source]` to read it.
        doubts: what to check in the sample, which may have been misread.
        doubtful: words that may stand for no value in a column of texts, and the first such column.
        footer: the beginnings of last rows that may not be records.
        others: patterns of further tables in an archive.
        parts: the contents of an archive or a workbook.
    """

    columns: list[SampleColumn]
    rows: int
    source: dict[str, Any]
    doubts: list[str] = field(factory=list)
    doubtful: dict[str, str] = field(factory=dict)
    footer: list[str] = field(factory=list)
    others: list[str | list[str]] = field(factory=list)
    parts: SampleParts = field(factory=SampleParts)

    @property
    def unsure(self) -> Iterator[str]:
        """What to check in the types of its columns."""
        of_words: dict[str, list[str]] = {}
        for column in self.columns:
            for word in column.nulls if column.guess is not None else ():
                of_words.setdefault(word, []).append(column.source)
        for word, names in of_words.items():
            yield f"{word!r} is read as NULL among the numbers, dates or the like of {listed(names)}: is that right?"
        if doubtful := [column.source for column in self.columns if column.doubt]:
            yield (
                "read as text, as some rows would be rejected otherwise (see the comments there): "
                + listed(doubtful)
            )
        tolerated = [(column.source, column.tolerated) for column in self.columns if column.tolerated]
        for name, doubt in tolerated[:_NAMED]:
            share = f"{doubt.count:,} of {counted(self.rows, 'row')} ({100 * doubt.count / self.rows:.2g} %)"
            shown = listed([elided(one, 40) for one in doubt.examples])
            kind = doubt.guess.kind[1] or doubt.guess.kind[0]
            yield f"{name!r} is read as {kind}: a run rejects {share}, such as {shown}"
        if len(tolerated) > _NAMED:
            more = counted(len(tolerated) - _NAMED, "more column", "more columns")
            yield f"{more} of which a run rejects few rows"


def read_sample(
    path: Path,
    opening: Opening,
    encoding: str | None = None,
    delim: str | None = None,
    *,
    sheet: str | int | None = None,
    wanted: Sequence[str] = (),
    name: str | None = None,
    held: Path | None = None,
) -> Sample:
    """Read the sample; the encoding and the delimiter of a CSV file are guessed unless given.

    Args:
        opening: opens a file, by a path and the name in messages, to read and judge its rows.
        sheet: the sheet of a workbook; default: guessed.
        wanted: patterns of the members of an archive; default: guessed.
        name: its name in messages; default: the path.
        held: the path to read it by, each time that it is opened; default: its own.

    Raises:
        ConfigurationError: it can't be read in any of the formats.
        ModuleNotFoundError: an extra is not installed.
    """
    raw = RawFile(path, name or str(path), held or path)
    try:
        with TemporaryDirectory(prefix="lume-init-") as folder:
            head = Path(folder) / "sample"
            with raw.open() as plain:
                kind = _KINDS.get(magic.kind_of(plain.read(magic.LENGTH)))
            if kind is not None:
                return _of_container(raw, opening, head, kind, sheet, wanted, encoding, delim)
            refuse_binary(raw)
            with raw.open() as plain:
                text = json_format(plain)
            with raw.open() as plain:
                has_elements = text is None and is_xml(plain)
            if has_elements:
                with raw.open() as plain:
                    found = path_in_xml(plain, raw.name)
                source = {"format": "xml", "xml": {"records": "/".join(found.steps)}}
                return _of_records(raw, opening, head, source, found)
            if text is None:
                refuse_other_json(raw)
                return _of_csv(raw, opening, head, encoding, delim)
            return _of_objects(raw, opening, head, text)
    except INCOMPLETE as error:
        raise ConfigurationError(incomplete(raw.name, raw.packing, error)) from None
    except OSError as error:
        raise ConfigurationError(f"{raw.name} can't be read: {error.strerror or error}") from None


def _of_container(
    raw: RawFile,
    opening: Opening,
    copy: Path,
    kind: Literal["parquet", "excel"],
    sheet: str | int | None,
    wanted: Sequence[str],
    encoding: str | None,
    delim: str | None,
) -> Sample:
    """Read a Parquet file, a workbook, or an archive, from a copy if it is compressed."""
    held = raw.held
    if raw.packing != "none":
        _unpack(raw, held := copy)
    parts = sample_parts(held, raw.name)
    if parts.members:
        if held is copy:
            raise ConfigurationError(
                f"{raw.name} is a compressed ZIP archive: decompress it, and pass the archive"
            )
        archive = _of_archive(raw, opening, parts.members, wanted, encoding, delim, sheet)
        return evolve(archive, parts=evolve(archive.parts, members=parts.members))
    with opening(held, name=raw.name) as file:
        if kind == "parquet":
            source: dict[str, Any] = {"format": "parquet"} | raw.compression
            return sample_of_rows(raw.name, file, file.rows(source, most=_ROWS), source, [])
        chosen = sheet_of(parts, file, raw.name, sheet)
        try:
            rows = file.rows(chosen.source, most=_ROWS)
        except ConfigurationError as error:
            if "header" in chosen.source or not chosen.contains:
                raise
            chosen = chosen.below_blank_rows
            try:
                rows = file.rows(chosen.source, most=_ROWS)
            except ConfigurationError:  # too far down: it can't be named either
                raise error from None
        # A blank cell of the header has a name made up by the reader.
        header = ["" if name == f"column_{n}" else name for n, name in enumerate(rows.header, 1)]
        source = chosen.source | raw.compression
        found = sample_of_rows(raw.name, file, evolve(rows, header=header), source, chosen.doubts)
        ending = [[value or "" for value in row] for row in rows.rows[-_ENDING:]]
        footer = footer_of(ending, len(rows.names)) if len(rows.rows) == rows.count else []
        return evolve(_with_footer(found, footer), parts=parts)


def _unpack(raw: RawFile, target: Path) -> None:
    with raw.open() as file, target.open("wb") as out:
        while block := file.read(_BLOCK):
            if out.tell() > _MOST_UNPACKED:
                raise ConfigurationError(
                    f"{raw.name} unpacks to more than {_MOST_UNPACKED:,} bytes: use a smaller sample"
                )
            out.write(block)


def _of_archive(
    raw: RawFile,
    opening: Opening,
    members: list[str],
    wanted: Sequence[str],
    encoding: str | None,
    delim: str | None,
    sheet: str | int | None,
) -> Sample:
    """Read the first member of a table, as a flow reads all of one: of the wanted ones, or the one with the most."""
    patterns = [*map(Pattern, wanted)]
    read = [name for name in members if not wanted or any(pattern.matches(name) for pattern in patterns)]
    if not read:
        raise ConfigurationError(
            f"{raw.name} has no member that matches {listed(wanted)}: it has {listed(members)}"
        )
    table, *others = tables_of(*_heads(raw, read))
    first = table.members[0]
    with TemporaryDirectory(prefix="lume-init-") as folder:
        copy = Path(folder) / f"sample{Path(first).suffix}"
        unpack_member(raw.held, first, copy, raw.name)
        sample = read_sample(copy, opening, encoding, delim, sheet=sheet, name=f"{raw.name}/{first}")
    source = {name: value for name, value in sample.source.items() if name != "compression"}
    if raw.path.suffix.lower() != ".zip":
        source["compression"] = "zip"
    asked = [f"the columns are those of {first!r}"] if len(table.members) > 1 else []
    if wanted:
        source["members"] = list(wanted)
        asked += [f"read as well, though its columns differ: {one.shown}" for one in others[:_OTHERS]]
        return evolve(sample, source=source, doubts=[*asked, *sample.doubts])
    if len(members) > 1:
        source["members"] = patterns_for(table.members, members)
    notes = [name for one in others for name in one.members if is_note(name)]
    others = [one for one in others if not is_note(one.members[0])]
    for one in others[:_OTHERS]:
        is_same = one.names == table.names and one.names
        why = "the same columns, written in another way" if is_same else "another table"
        asked.append(f"not read of the archive, as {why}: {one.shown}")
    if left := [*notes, *(name for one in others[_OTHERS:] for name in one.members)]:
        asked.append(f"not read of the archive: {listed(left)}")
    found = [patterns_for(one.members, members) for one in others[:_OTHERS]]
    return evolve(sample, source=source, doubts=[*asked, *sample.doubts], others=found)


def _heads(raw: RawFile, names: Sequence[str]) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return the beginnings of members of an archive, empty for those that can't be read, and their sizes."""
    heads, sizes = dict.fromkeys(names, b""), dict.fromkeys(names, 0)
    first = set(names[:MOST_FILES])
    with reading_zip(raw.held, raw.name) as archive:
        for member in members_of(archive):
            if member.name in first:
                sizes[member.name] = member.info.file_size
                opener = OPENERS.get(SUFFIXES.get(Path(member.name).suffix.lower(), ""))
                with (
                    suppress(RuntimeError, OSError, *DAMAGED, *INCOMPLETE),
                    archive.open(member.info) as file,
                ):
                    heads[member.name] = (opener(file) if opener else file).read(HEAD)
    return heads, sizes


def _of_records(
    raw: RawFile,
    opening: Opening,
    head: Path,
    source: dict[str, Any],
    found: RecordPath,
) -> Sample:
    """Read records at a path with the engine."""
    _unpack(raw, head)
    with opening(head, name=raw.name) as sample:
        rows = sample.rows(source, most=_ROWS, members=sample.members(source, most=_ROWS))
        return sample_of_rows(raw.name, sample, rows, source | raw.compression, found.doubts)


def _of_objects(raw: RawFile, opening: Opening, head: Path, kind: Literal["json", "ndjson"]) -> Sample:
    """Read values as lines; the engine reports why it would reject a value that is not an object."""
    first: Any = None
    count = 0
    with raw.open() as file, head.open("wb") as out:

        def each() -> Iterator[Any]:
            nonlocal first, count
            for line, value in objects(file, kind, raw.name, _LINES_READ):
                out.write(line + b"\n")
                first, count = (value if count == 0 else first), count + 1
                yield value

        names = names_in(each())
    is_lines = raw.is_called(".ndjson", ".jsonl")
    if count == 1 and not is_lines and (found := path_in_json(first)):
        has_dots = any("." in step for step in found.steps)
        way = found.steps if has_dots else ".".join(found.steps)
        return _of_records(raw, opening, head, {"format": "json", "json": {"records": way}}, found)
    with opening(head, name=raw.name) as sample:
        rows = sample.rows({"format": "ndjson"}, most=_ROWS, members=names)
        if not names and not rows.unread:
            if lines := rows.malformed_lines:
                raise ConfigurationError(
                    f"line {lines[0]:,} of {raw.name} is not a JSON object: correct it there"
                )
            raise ConfigurationError(f"{raw.name} has no object with a member: a sample needs at least one")
        asked = list[str]()
        if count == 1 and not is_lines:
            kind = "json"  # which may as well have several lines
            asked.append("it is one object, and so one record: is that right?")
        return sample_of_rows(raw.name, sample, rows, {"format": kind} | raw.compression, asked)


def _of_csv(raw: RawFile, opening: Opening, head: Path, encoding: str | None, delim: str | None) -> Sample:
    """Return the sample of a CSV file; if its lines look like it, of a fixed-width file."""
    asked: list[str] = []
    is_guessed = encoding is None
    if encoding is None:
        encoding, asked = encoding_of(raw)
    try:
        with raw.open() as file:
            is_whole = copy_head(file, encoding, raw.name, head, _LINES_READ)
    except LookupError:
        raise ConfigurationError(f"unknown encoding {encoding!r}: try utf-8 or cp1252") from None
    except UnicodeError:
        what = f"looks like {encoding}, but has other bytes" if is_guessed else f"is not valid {encoding}"
        how = "" if is_guessed else "leave out the encoding to have it guessed, or "
        raise ConfigurationError(
            f"{raw.name} {what}: {how}set its encoding, the one that it was saved in"
        ) from None
    with head.open(encoding="utf-8", errors="surrogateescape", newline="") as text:
        first = list(islice(text, _LINES))
    if not any(line.strip() for line in first):
        raise ConfigurationError(
            f"{raw.name} is empty: a sample needs a header that names the columns, and rows"
        )
    given, delim = delim, delimiter(first) if delim is None else delim
    start = start_of_lines(first, delim)
    if given is None and _may_be_fixed(first, start, delim) and (fixed := fixed_columns(first)):
        return _of_fixed(raw, opening, head, fixed, encoding, asked, is_whole=is_whole)
    with suppress(csv.Error):
        shown = list(csv.reader(first[start.row :], delimiter=delim))
        asked += [*start.doubts, *doubts(shown[0], shown[1:], delim)]
        asked += likelier_delimiter(first, given) if given is not None else ()
        if trailing_delimiter(shown[0], shown[1:]):  # a header that includes it makes the rows readable
            lines = head.read_bytes().splitlines(keepends=True)
            header = lines[start.row]
            bare = header.rstrip(b"\r\n")
            lines[start.row] = bare + delim.encode() + header[len(bare) :]
            head.write_bytes(b"".join(lines))
    with opening(head, name=raw.name) as sample:
        try:
            source, rows = _quoting(sample, {"delim": delim}, start.settings)
        except ConfigurationError:
            if not start.settings:
                raise
            source, rows = _quoting(sample, {"delim": delim}, {})  # the guess was wrong
            asked = [doubt for doubt in asked if doubt not in start.doubts]
        asked += controls([rows.names, *([value or "" for value in row] for row in rows.rows)], encoding)
        written = source | {"csv": {"delim": delim, "encoding": encoding} | source["csv"]}
        written |= raw.compression
        judged = sample_of_rows(raw.name, sample, rows, written, asked)
    ending = split(head.read_text(encoding="utf-8", errors="replace").splitlines()[-_ENDING:], delim)
    return _with_footer(judged, footer_of(ending, len(rows.names)) if is_whole else [])


def _with_footer(sample: Sample, footer: list[str]) -> Sample:
    if not footer:
        return sample
    begin = ", ".join(map(repr, footer))
    doubt = f"the last lines begin with {begin}: if they are no records, they are its footer"
    return evolve(sample, footer=footer, doubts=[*sample.doubts, doubt])


def _may_be_fixed(lines: Sequence[str], start: Start, delim: str) -> bool:
    """Return whether the delimiter may be none: the first line has none, or it may be part of values."""
    if delim != ",":
        return len(start.names) < 2
    return start.row > 0 or len(start.names) < 2 or not any(map(_DELIMITS.search, lines))


def _of_fixed(
    raw: RawFile,
    opening: Opening,
    head: Path,
    fixed: FixedColumns,
    encoding: str,
    asked: list[str],
    *,
    is_whole: bool,
) -> Sample:
    with head.open(encoding="utf-8", errors="surrogateescape", newline="") as text:
        fixed = fixed_columns(list(text)) or fixed  # which may depend on rows further down
    source: dict[str, Any] = fixed.source
    with opening(head, name=raw.name) as sample:
        rows = sample.rows(source, most=_ROWS)
        if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
            source["fixed"]["encoding"] = encoding
        found = sample_of_rows(raw.name, sample, rows, source | raw.compression, [*asked, *fixed.doubts])
        return _with_footer(found, fixed.footer if is_whole else [])


def _quoting(
    sample: OpenSample, csv: dict[str, str], more: dict[str, object]
) -> tuple[dict[str, Any], SampleRows]:
    """Return the quote settings with the fewest malformed lines."""
    found: list[tuple[int, dict[str, Any]]] = []
    refused: list[ConfigurationError] = []
    for options in _QUOTING:
        source: dict[str, Any] = {"format": "csv", **more, "csv": csv | options}
        try:
            rows = sample.rows(source, most=_ROWS)
        except ConfigurationError as error:  # such as for the quotes of its header
            refused.append(error)
            continue
        is_usual = not (options or refused or _BROKEN in rows.malformed)
        if is_usual or not (rows.malformed or ("quote" in options and _is_quoted(rows))):
            return source, rows
        if "quote" not in options or not _is_quoted(rows):
            found.append((sum(rows.malformed.values()), source))
    if not found:
        raise refused[0]
    _, source = min(found, key=lambda one: one[0])
    return source, sample.rows(source, most=_ROWS)


def _is_quoted(rows: SampleRows) -> bool:
    """Return whether a value is in quotes, as left by a reader that knows none."""
    return any(_QUOTED.fullmatch(value or "") for row in rows.rows for value in row)


def sample_of_rows(
    name: str, sample: ReadSample, found: SampleRows, source: dict[str, Any], asked: Sequence[str]
) -> Sample:
    """Return a sample of these rows, which were read according to `source`; its columns are judged.

    A rejects file's own columns are left out, as a flow does not see them.

    Raises:
        ConfigurationError: no column is left, or most lines are not rows.
    """
    names = found.names
    values = [[row[n] or "" for row in found.rows] for n in range(len(names))]
    kept = [
        n
        for n, name in enumerate(names)
        if not name.lower().startswith("_lume_") and (found.header[n] or any(values[n]))
    ]
    if not kept and found.unread:
        raise ConfigurationError(elided(f"{name} has no column for a flow: {'; '.join(found.unread)}"))
    if not kept and not any(one.lower().startswith("_lume_") for one in names):
        raise ConfigurationError(f"{name} has no record with a value: a sample needs at least one")
    if not kept:
        raise ConfigurationError(f"{name} has no columns except those of rejects: {', '.join(names)}")
    if sum(found.malformed.values()) > found.count:
        advice = "quotes must enclose a whole value, without spaces around them: correct the file"
        if source["format"] not in ("csv", "fixed"):
            advice = "correct the file"
        elif _BROKEN not in found.malformed:
            advice = "check the delimiter, and that the first line is the header"
        message = f"{name}: {next(of_malformed(found))}, which is most of it: {'; '.join([*asked, advice])}"
        raise ConfigurationError(elided(message))
    asked = [*asked, *found.unread]
    if len(kept) > _MOST_COLUMNS:
        many = counted(len(kept), "column")
        asked.append(f"it has {many}, and a flow may have {_MOST_COLUMNS:,}: here the first ones are")
    first = {name.lower(): n for n, name in reversed(list(enumerate(names)))}
    if twins := [names[n] for n in kept if first[names[n].lower()] != n]:
        kept = [n for n in kept if first[names[n].lower()] == n]
        asked.append(f"left out, as another name differs in case only: {listed(twins, _NAMED)}")
    kept = kept[:_MOST_COLUMNS]
    if hidden := [names[n] for n in kept if CONTROL.search(names[n])]:
        kept = [n for n in kept if names[n] not in hidden]
        asked.append(f"left out, as the name contains a control character: {listed(hidden, _NAMED)}")
    if clocks := [names[n] for n in kept if names[n].lower() in CLOCKS]:
        kept = [n for n in kept if names[n] not in clocks]
        asked.append(
            f"left out, as SQL has a clock of that name: {listed(clocks)}: read it with from = [{clocks[0]!r}]"
        )
    if not kept:
        raise ConfigurationError(f"{name}: {asked[-1]}: rename the columns")
    names, values = [names[n] for n in kept], [values[n] for n in kept]
    known = source.get("null", ())
    nulls, doubtful = null_words(names, values, known)
    columns = infer(names, zip(*values, strict=True), nulls)
    if found.rows:
        judge(sample, {"null": known} if known else {}, columns)
    more = [*of_names([found.header[n] for n in kept], names), *of_malformed(found)]
    if not found.rows:
        more.append(f"{Path(name).name} has no rows: every column is read as text")
    return Sample(columns, found.count, source, [*asked, *more], doubtful)


def sample_parts(path: str | PathLike[str], name: str | None = None) -> SampleParts:
    """Return the members of a ZIP archive or the sheets of a workbook; for any other file, no parts.

    Args:
        path: the file, whose content shows its type.
        name: its name in messages; default: the file name.

    Raises:
        ConfigurationError: it is damaged or encrypted.
        OSError: the file can't be opened.
    """
    file = Path(path)
    shown = name or file.name
    with file.open("rb") as beginning:
        if magic.kind_of(beginning.read(magic.LENGTH)) not in (magic.ZIP, magic.OLE):
            return SampleParts()
    try:
        kind = workbook.container_of(file)
        if kind == "archive":
            with reading_zip(file, shown) as archive:
                return SampleParts(members=[member.name for member in members_of(archive)])
        if kind == "workbook":
            require("openpyxl", "excel", "reading an Excel workbook")
            with workbook.opened_workbook(file, shown, _UNPACKED, no_pause) as book:
                sheets = [sheet.name for sheet in book.sheets if not sheet.is_hidden]
                return SampleParts(sheets=sheets, hidden=[one.name for one in book.sheets if one.is_hidden])
    except (SourceError, ModuleNotFoundError) as error:
        raise ConfigurationError(str(error)) from None
    return SampleParts()  # it was replaced meanwhile


def unpack_member(
    path: str | PathLike[str], member: str, target: str | PathLike[str], name: str | None = None
) -> None:
    """Write one member of a ZIP archive to a file, also decompressed if it is a compressed file.

    Args:
        member: its name, as returned by `sample_parts`.
        name: the archive's name in messages; default: its file name.

    Raises:
        ConfigurationError: it can't be read, or unpacks to more than 10 GiB.
    """
    packed = Packed(Path(path), name or Path(path).name, "zip", [escape(member)])
    try:
        with TemporaryDirectory(dir=Path(target).parent) as folder:
            (found,) = packed.unpack(Path(folder) / "member", _UNPACKED, no_pause)
            found.path.replace(target)
    except SourceError as error:
        raise ConfigurationError(str(error)) from None
