"""The shards of a source, and their combined results after taking in and staging. Pure."""

# ruff: noqa: S608 - the parts of its SQL are numbers and quoted texts.
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from attrs import evolve, field, frozen

from lume_local._worker.shards.access import local_path
from lume_local._worker.shards.split import PieceLook, Plan, ranges
from lume_local._worker.sources.files import count_lines
from lume_local._worker.sources.formats.names import check_members
from lume_local._worker.sources.intake import Account, Malformed
from lume_local._worker.sources.several_files import common_columns, joint_aliases
from lume_local._worker.sql import text
from lume_local._worker.statements import Layout

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
        """Return the argument of the task that takes the shard in."""
        single = self.plan.single
        if shard.span is None:
            return {"place": single.place, "shown": single.shown, "tag": single.tag}
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
        return {"segments": segments, "tag": tag, **more}


def layout_of(plain: dict[str, Any]) -> Layout:
    names: dict[str, Any] = {key: tuple(plain[key]) for key in ("raw", "unknown", "members")}
    return Layout(**plain | names)


@frozen
class Taken:
    """A shard and the result of taking it in."""

    shard: Shard
    result: dict[str, Any] = field(repr=False)

    @property
    def layout(self) -> Layout:
        return layout_of(self.result["layout"])


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

    def rows(self) -> Any:
        for before, part in self._parts:
            for line, *about in part.rows():
                yield line + before, *about


def account_of(plan: Plan, parts: Sequence[Taken]) -> tuple[Account, Joined]:
    """Return the account of a file from its shards, in order; each but the first repeats the header."""
    account, malformed, head_lines = Account(plan.single.bytes), [], count_lines(plan.head)
    for part in parts:
        again = 0 if part.shard.first else head_lines
        account.skip(part.result["skipped"])
        account.warnings |= part.result["warnings"]
        if again:
            account.skip(plan.above, -1)
        malformed.append((account.lines - again, Malformed.of(part.result["malformed"])))
        account.lines += part.result["lines"] - again
        account.records += part.result["records"]
    if plan.footer and parts[0].shard.span is not None:
        account.lines += plan.footer.lines
        account.skip(plan.footer.skipped)
    return account, Joined(malformed)


def layout_of_file(flow: dict[str, Any], shown: str, parts: Sequence[Taken]) -> Layout:
    """Return the columns of a file; NDJSON objects may have other members in every shard. Raises `SourceError`."""
    layouts = [part.layout for part in parts]
    if not layouts[0].json_lines:
        return evolve(layouts[0], reader="")
    unknown = {name for layout in layouts for name in layout.unknown}
    members = {name for layout in layouts for name in layout.members}
    together = evolve(
        layouts[0],
        reader="",
        unknown=tuple(sorted(unknown, key=str.encode)),
        members=tuple(sorted(members, key=str.encode)),
        aliases=joint_aliases(layouts),
    )
    check_members(flow, together, shown)
    return together


def layout_of_all(files: Sequence[Layout]) -> Layout:
    return files[0] if len(files) == 1 else common_columns(list(files))


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
