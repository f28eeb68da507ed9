r"""The shards of a source: where a file is cut, and the combined results after taking in and staging.

A file of lines may be cut after a `\n` that is not within quotes. Whether a byte is within quotes depends on all
quotes before it. Pieces of a file are therefore examined separately: each is searched for its number of quotes and
for its first cut in both cases, beginning outside of quotes or within. The counts of the previous pieces then decide
between the cases.

A stray quote makes that wrong. If no cut is found then, the other case is assumed from there on; only after reading a
shard is it certain that it ends after a record (see `ends_within_a_record`).
"""

# ruff: noqa: S608 - the parts of its SQL are numbers and quoted texts.
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from attrs import evolve, field, frozen

from lume_local._shared.compressed import ZIP
from lume_local._worker.shards.access import fetch_range, local_path, new_folder, open_part, paths_of
from lume_local._worker.sources.files import BLOCK, count_lines, is_utf8_name, opened
from lume_local._worker.sources.formats.names import check_members
from lume_local._worker.sources.formats.table_edges import TAIL, Footer, footer_in, whole_lines
from lume_local._worker.sources.formats.text.csv import header_of
from lume_local._worker.sources.formats.text.dialect import LINE_END, Dialect, Quotes, grammar_of
from lume_local._worker.sources.intake import (
    Account,
    Malformed,
    MalformedLine,
    joint_aliases,
)
from lume_local._worker.sources.layouts import Recognition
from lume_local._worker.sources.mending.door import OF_REJECTS, delim_of_rejects, is_table_of_objects
from lume_local._worker.sources.places.held import Held, changed
from lume_local._worker.sources.places.unpack import compression_of
from lume_local._worker.sources.row_places import Part
from lume_local._worker.sources.source import File, Single, SourceError
from lume_local._worker.sql import text
from lume_local._worker.statements import Branch, Relation, form_of, forms_of
from lume_local._worker.steps import Context

_LINE_END = re.compile(LINE_END)


@frozen
class PieceLook:
    """The findings about one piece.

    Attributes:
        start: where the piece begins in the file.
        odd: whether it has an odd number of quotes.
        cuts: its first cut in the file if it begins outside of quotes, and if within; None if there is none.
        path: the file that contains it, on storage that all tasks can access.
        offset: where `path` begins in the file.
    """

    start: int
    odd: bool
    cuts: tuple[int | None, int | None]
    path: str
    offset: int

    @classmethod
    def of(cls, result: dict[str, Any]) -> "PieceLook":
        outside, within = result["cuts"]
        return cls(result["start"], result["odd"], (outside, within), result["path"], result["offset"])


def look(argument: dict[str, Any]) -> dict[str, Any]:
    """Task: examine the bytes from `start` to `end` of a file; an object's bytes are downloaded first."""
    quotes, start, single = Quotes(argument["csv"]), argument["start"], Single(**argument["single"])
    path, offset, tag = local_path(single), 0, single.tag
    if path is None:
        copy = new_folder(Path(argument["folder"]), "piece") / "copy"
        path, offset, tag = fetch_range(single, start, argument["end"], copy), start, ""
    odd, cuts = False, None
    with open_part(path, tag, single.shown) as file:
        for block in _blocks(file, start - offset, argument["end"] - start, quotes.escape):
            bare = quotes.bare(block)
            if cuts is None:  # the real case has a cut in the first block, unless a record is larger
                cuts = quotes.cuts(bare)
                if not quotes.quote:
                    break
            odd ^= bare.count(quotes.quote) % 2 == 1
    found = [None if cut is None else start + cut for cut in cuts or (None, None)]
    return {"start": start, "odd": odd, "cuts": found, "path": str(path), "offset": offset}


def _blocks(file: BinaryIO, at: int, left: int, escape: bytes) -> Iterator[bytes]:
    file.seek(at)
    while left > 0 and (block := file.read(min(left, BLOCK))):
        left -= len(block)
        # No block ends between an escape character and the next one.
        while escape and left > 0 and block.endswith(escape) and (byte := file.read(1)):
            left, block = left - 1, block + byte
        yield block


def ranges(looks: Sequence[PieceLook], start: int, end: int) -> list[tuple[int, int]]:
    """Return the start and end of each shard. The first piece begins at `start`, outside of quotes."""
    bounds, within = [start], 0
    for n, one in enumerate(looks):
        if one.cuts[within] is None and one.cuts[1 - within] is not None:
            within = 1 - within
        cut = one.cuts[within]
        if n and cut is not None and bounds[-1] < cut < end:
            bounds.append(cut)
        within ^= one.odd
    return list(pairwise([*bounds, end]))


def ends_within_a_record(path: Path, malformed: Malformed, flow: dict[str, Any]) -> bool:
    """Return whether a record continues after the end of the CSV shard at `path`, given its refused lines.

    A shard is read from its first record to its end, just as the whole file would be read there, unless a record
    begins in it and ends after it. The shard then holds only the beginning of that record: its first line is refused,
    with an odd number of quotes; nothing up to the shard's end closes the last of them; and the end is no further
    away than a record may be long.
    """
    quotes = Quotes(flow["csv"])
    if not quotes.quote or not malformed.total:
        return False
    refused = {one.raw for one in malformed.rows() if quotes.are_odd(one.raw)}
    if not refused:
        return False
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - flow["max_line_bytes"] - 2)
        file.seek(start)
        tail = file.read()
    unclosed = re.compile(Dialect.of(flow["csv"]).unclosed)
    at = 0
    for end in _LINE_END.finditer(tail):
        is_whole = at or not start  # the first line of the tail may be incomplete
        if is_whole and tail[at : end.start()] in refused and unclosed.match(tail, at):
            return True
        at = end.end()
    return False


_HEAD = 1024 * 1024 + 1
"""Bytes in which a header must end."""
_MOST_PIECES = 100_000


@frozen
class Plan:
    """The plan for one file.

    Attributes:
        why: why it is one shard; empty if it is cut.
        head: the bytes before the first record.
        above: the number of its lines that are not the header, by kind.
        footer: the part after the last record, which belongs to no shard.
        layout: its layout, if that is known before it is read.
        pieces: start and end of each piece, about as large as a shard should be.
    """

    single: Single
    why: str = ""
    head: bytes = field(default=b"", repr=False)
    pieces: tuple[tuple[int, int], ...] = ()
    above: dict[str, int] = field(factory=dict)
    footer: Footer | None = None
    layout: str = ""

    @property
    def end(self) -> int:
        """Where the last record ends."""
        return self.footer.begin if self.footer else self.single.bytes


def planned(context: Context, engine: dict[str, Any]) -> list[Plan]:
    """Return a plan for each file; none if one worker has to read them all.

    Raises `SourceError` if an object can't be read, or a file has no layout.
    """
    singles, flow, folder = context.source.each(), context.flow, context.folder
    if any(may_hold_several(single, form) for single in singles for form in forms_of(flow)):
        return []
    size: int = engine["shard_bytes"]
    if engine.get("shards"):
        size = max(1, -(-sum(one.bytes for one in singles) // engine["shards"]))
    if not flow["layouts"]:
        return [_plan(single, flow, size, folder / f"head{n}") for n, single in enumerate(singles)]
    recognition = Recognition(context.connection, flow, folder, context.pause, context.job.layout)
    plans = list[Plan]()
    for n, single in enumerate(singles):
        if layout := _layout_of(single, flow, recognition, folder / f"whole{n}"):
            plan = _plan(single, form_of(flow, layout), size, folder / f"head{n}")
            plans.append(evolve(plan, layout=layout))
        else:
            plans.append(Plan(single, "its layout is known once it is read"))
    return plans


def _layout_of(single: Single, flow: dict[str, Any], recognition: Recognition, copy: Path) -> str:
    """Return the layout of a file; empty if it is not here, is compressed, or holds rejects. Raises `SourceError`."""
    paths, path = paths_of(single), local_path(single)
    if path is None or compression_of(path, flow["compression"], path):
        return recognition.by_path(single.shown, paths)
    with closing(Held()) as held:
        handle, found = opened(path)
        if found.tag != single.tag:
            raise changed(single.shown)
        here = held.hold(handle, path, copy)
        return recognition.of(File(here, single.shown, "", single.bytes, paths=paths)).layout


def may_hold_several(single: Single, flow: dict[str, Any]) -> bool:
    """Return whether one file may contain several."""
    name = local_path(single) or Path(single.shown)
    of_sheets = flow["format"] == "excel" and flow["excel"]["of_all"]
    return of_sheets or compression_of(name, flow["compression"], None) == ZIP


def _plan(single: Single, flow: dict[str, Any], size: int, copy: Path) -> Plan:
    with closing(Held()) as held:
        here = None
        if (path := local_path(single)) is not None:
            handle, found = opened(path)
            here = held.hold(handle, path, copy, _HEAD)
            if found.tag != single.tag:
                raise changed(single.shown)
        if why := next(_reasons(single, here, flow, size), ""):
            return Plan(single, why)
        plan = _begins(here or fetch_range(single, 0, min(_HEAD, single.bytes), copy), single, flow, copy)
    if plan.why:
        return plan
    start = len(plan.head)
    count = min(-(-(plan.end - start) // size), _MOST_PIECES)
    if count < 2:
        return Plan(single, _SMALL)
    bounds = [start + n * (plan.end - start) // count for n in range(count + 1)]
    return evolve(plan, pieces=tuple(pairwise(bounds)))


def _footer(single: Single, begin: int, flow: dict[str, Any], copy: Path) -> Footer | None:
    """Find the footer before anything is cut, as a shard can't see the following ones."""
    if flow["footer"] is None:
        return None
    start = max(begin, single.bytes - TAIL)
    if (path := local_path(single)) is None:
        tail = fetch_range(single, start, single.bytes, copy.with_suffix(".tail")).read_bytes()
    else:
        with open_part(path, single.tag, single.shown) as file:
            file.seek(start)
            tail = file.read(single.bytes - start)
    whole = tail if start == begin else whole_lines(tail)
    return footer_in(whole, start + len(tail) - len(whole), grammar_of(flow), flow)


def _begins(path: Path, single: Single, flow: dict[str, Any], copy: Path) -> Plan:
    """Return why the file's beginning prevents a cut, or the parts before its first and after its last record."""
    with path.open("rb") as file:
        header = file.readline(_HEAD)
    if is_table_of_objects(header, flow["format"]):
        return Plan(single, "it holds rejects as objects")
    of_rejects = delim_of_rejects(header, flow)
    if of_rejects and flow["format"] != "csv":
        return Plan(single, "it holds rejects in CSV")
    if flow["format"] == "ndjson":
        return Plan(single)
    if of_rejects:
        if of_rejects != flow["csv"]["delim"]:
            return Plan(single, "it holds rejects that were saved with another delimiter")
        flow = flow | OF_REJECTS
    try:
        found = header_of(path, grammar_of(flow), flow, single.shown)
    except SourceError:
        return Plan(single, "its header can't be read")  # whoever reads the whole file reports it
    if found.line_end == b"\r":
        return Plan(single, r"its lines end with \r")
    footer = _footer(single, found.end, flow, copy)
    with path.open("rb") as file:
        return Plan(single, "", file.read(found.end), above=found.skipped, footer=footer)


_SMALL = "it is not larger than a shard"


def _reasons(single: Single, path: Path | None, flow: dict[str, Any], size: int) -> Iterator[str]:
    if flow["format"] not in ("csv", "fixed", "ndjson"):
        yield f"a file of the format {flow['format']} is not cut"
    elif packed := compression_of(local_path(single) or Path(single.shown), flow["compression"], path):
        yield f"it is compressed ({packed})"
    elif not is_utf8_name(flow["encoding"]):
        yield f"its encoding is {flow['encoding']}, and only UTF-8 is cut"
    elif flow["format"] == "csv" and len(flow["csv"]["quote"].encode()) > 1:
        yield f"its quote {flow['csv']['quote']} is more than one byte"
    elif single.bytes <= size:
        yield _SMALL


_NUMBER = 6
"""Digits of a staged shard's number in its file name."""


@frozen
class Shard:
    """A part of one file, or all of it.

    Attributes:
        first: whether the file begins with it.
        last: whether the file ends with it.
        span: its start and end; None for a file that is read whole.
    """

    file: int
    first: bool = True
    last: bool = True
    span: tuple[int, int] | None = None


@frozen
class Cut:
    """A file with its plan, and the looks at its pieces."""

    plan: Plan
    looks: tuple[PieceLook, ...] = field(default=(), repr=False)

    def shards(self, number: int) -> list[Shard]:
        """Return its shards, as file `number`."""
        if not self.looks:
            return [Shard(number)]
        spans = ranges(self.looks, self.plan.pieces[0][0], self.plan.end)
        last = len(spans) - 1
        return [Shard(number, n == 0, n == last, span) for n, span in enumerate(spans)]

    def argument(self, shard: Shard) -> dict[str, Any]:
        single = self.plan.single
        if shard.span is None:
            about = {"place": single.place, "shown": single.shown, "tag": single.tag}
            return about | {"layout": self.plan.layout}
        segments = []
        at = bisect_right(self.looks, shard.span[0], key=lambda look: look.start) - 1
        while at < len(self.looks) and self.looks[at].start < shard.span[1]:
            look, (begin, end) = self.looks[at], self.plan.pieces[at]
            start, stop = max(begin, shard.span[0]), min(end, shard.span[1])
            segments.append({"path": look.path, "start": start - look.offset, "end": stop - look.offset})
            at += 1
        head = self.plan.head.decode("latin-1")
        tag = single.tag if local_path(single) else ""  # objects are read from copies
        more = {"head": head, "first": shard.first, "shown": single.shown, "bytes": single.bytes}
        return {"segments": segments, "tag": tag, "layout": self.plan.layout, **more}


def relation_of(plain: dict[str, Any]) -> Relation:
    names: dict[str, Any] = {key: tuple(plain[key]) for key in ("raw", "unknown", "members")}
    names["branches"] = tuple(
        Branch(**one | {"places": tuple(one["places"]), "own": relation_of(one["own"])})
        for one in plain["branches"]
    )
    return Relation(**plain | names)


@frozen
class Taken:
    """A shard and the result of taking it in."""

    shard: Shard
    result: dict[str, Any] = field(repr=False)

    @property
    def relation(self) -> Relation:
        return relation_of(self.result["relation"])

    @property
    def layout(self) -> str:
        return str(self.result["layout"])


class Joined(Malformed):
    """Joins the malformed lines of a file's shards, each with the number of lines of the file before it."""

    def __init__(self, parts: Sequence[tuple[int, Malformed]]) -> None:
        super().__init__(parts[0][1].path)
        self._parts = parts
        for _, part in parts:
            for reason, count in part.counts.items():
                self.counts[reason] = self.counts.get(reason, 0) + count
            for file, form in part.forms.items():
                self.note_form(file, form)

    @property
    def parts(self) -> list[Part]:
        return [(before, part.places, part.others) for before, part in self._parts]

    def rows(self) -> Iterator[MalformedLine]:
        for before, part in self._parts:
            for one in part.rows():
                yield one._replace(line=one.line + before)


def account_of(plan: Plan, parts: Sequence[Taken]) -> tuple[Account, Joined]:
    """Return the account of a file from its shards, in order; each but the first repeats the header."""
    account = Account(plan.single.bytes, layout=parts[0].layout, visible=parts[0].relation.visible)
    malformed, head_lines = [], count_lines(plan.head)
    for part in parts:
        again = 0 if part.shard.first else head_lines
        account.skip(part.result["skipped"])
        account.footer += part.result["footer"]
        account.warnings |= part.result["warnings"]
        if again:
            account.skip(plan.above, -1)
        malformed.append((account.lines - again, Malformed.of(part.result["malformed"])))
        account.lines += part.result["lines"] - again
        account.records += part.result["records"]
    if plan.footer and parts[0].shard.span is not None:
        account.lines += plan.footer.lines
        account.skip(plan.footer.skipped)
        account.footer = plan.footer.rows
    return account, Joined(malformed)


def relation_of_file(flow: dict[str, Any], shown: str, parts: Sequence[Taken]) -> Relation:
    """Return the columns of a file; NDJSON objects may have other members in every shard. Raises `SourceError`."""
    relations = [part.relation for part in parts]
    if not relations[0].json_lines:
        return evolve(relations[0], reader="")
    unknown = {name for relation in relations for name in relation.unknown}
    members = {name for relation in relations for name in relation.members}
    together = evolve(
        relations[0],
        reader="",
        unknown=tuple(sorted(unknown, key=str.encode)),
        members=tuple(sorted(members, key=str.encode)),
        aliases=joint_aliases(relations),
    )
    check_members(flow, together, shown)
    return together


def part_name(number: int) -> str:
    return f"{number:0{_NUMBER}}.parquet"


@frozen(slots=False)
class Parts:
    """The staged rows of all shards as one run's, numbered consecutively."""

    staged: Sequence[dict[str, Any]] = field(repr=False)

    @cached_property
    def offsets(self) -> list[int]:
        """The number of rows before each part."""
        found, rows = [], 0
        for one in self.staged:
            found.append(rows)
            rows += one["rows"]
        return found

    @property
    def all(self) -> str:
        """SQL for all rows in order, with `file_row_number` as if they were in one file."""
        files = ", ".join(text(one["path"]) for one in self.staged)
        offsets = ", ".join(map(str, self.offsets))
        suffix = len(part_name(0))
        part = f"CAST(substr(_lume_part, -{suffix}, {_NUMBER}) AS BIGINT)"
        return (
            f"(SELECT * EXCLUDE (_lume_part) REPLACE (file_row_number + CAST([{offsets}] AS BIGINT[])[{part} + 1] "
            f"AS file_row_number) FROM read_parquet([{files}], file_row_number=true, filename='_lume_part'))"
        )

    def part(self, number: int) -> str:
        """Return SQL for the rows of one part, with their numbers among all rows."""
        return (
            f"(SELECT * REPLACE (file_row_number + {self.offsets[number]} AS file_row_number) "
            f"FROM read_parquet({text(self.staged[number]['path'])}, file_row_number=true))"
        )

    def span(self, number: int) -> tuple[int, int]:
        """Return the first row number of one part, and the number after its last."""
        start = self.offsets[number]
        return start, start + self.staged[number]["rows"]

    def counts(self) -> list[int]:
        """Return the numbers of rows, of rejects, and of rows that break each check, as `Statements.counts` does."""
        columns = zip(*([one["rows"], one["rejected"], *one["broken"]] for one in self.staged), strict=True)
        return [sum(column) for column in columns]
