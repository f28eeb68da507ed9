"""Reads several files as one source: their rows one after the other, in columns of the same names."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from attrs import evolve, frozen

from lume_local._worker.sources.formats.rows_file import RowsFile
from lume_local._worker.sources.intake import Malformed
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sql import text
from lume_local._worker.statements import Layout


def one_after_the_other(layouts: list[Layout], shown: list[str]) -> Layout:
    """Return all rows of all files, each with the name of its file in `_lume_file`."""
    together = common_columns(layouts)
    each = (rows_in(together, layout, name) for layout, name in zip(layouts, shown, strict=True))
    return evolve(together, reader=" UNION ALL ".join(each))


def common_columns(layouts: list[Layout]) -> Layout:
    """Return the combined columns of several files, without a reader."""
    raw: dict[tuple[str, int], str] = {}
    for layout in layouts:
        for key, name in zip(_keys(layout), layout.raw, strict=True):
            raw.setdefault(key, name)
    at = {key: n for n, key in enumerate(raw)}
    visible = {name: at[name, _READ] for name in layouts[0].visible}
    unknown = tuple(dict.fromkeys(name for layout in layouts for name in layout.unknown))
    members = tuple(dict.fromkeys(name for layout in layouts for name in layout.members))
    return Layout(
        "",
        tuple(raw.values()),
        visible,
        layouts[0].json_lines,
        of_files=True,
        unknown=unknown,
        members=members,
        aliases=joint_aliases(layouts),
    )


def joint_aliases(layouts: Sequence[Layout]) -> dict[str, list[str]]:
    names = dict.fromkeys(name for layout in layouts for name in layout.aliases)
    return {
        name: list(dict.fromkeys(one for layout in layouts for one in layout.aliases.get(name, ())))
        for name in names
    }


def rows_in(together: Layout, layout: Layout, shown: str) -> str:
    """Return a query for the rows of one file in the columns of all files."""
    place = {key: n for n, key in enumerate(_keys(layout))}
    # A column that the file lacks is NULL.
    values = [f"_lume_s{place[key]}" if key in place else "NULL::VARCHAR" for key in _keys(together)]
    items = [f"{value} AS _lume_s{n}" for n, value in enumerate(values)]
    if layout.json_lines:
        items.append("_lume_line_text")
    return f"SELECT {', '.join(items)}, {text(shown)} AS _lume_file FROM ({layout.reader})"


def places_in(together: Layout, layout: Layout) -> list[int]:
    """Return the number of each column of a file among the columns of all."""
    at = {key: n for n, key in enumerate(_keys(together))}
    return [at[key] for key in _keys(layout)]


_READ = 0


def _keys(layout: Layout) -> Iterator[tuple[str, int]]:
    """Yield each column as its name and its number among namesakes; the flow's name for one that it reads."""
    seen: dict[str, int] = {}
    read = {n: name for name, n in layout.visible.items()}
    for n, name in enumerate(layout.raw):
        if n in read:
            yield read[n], _READ
            continue
        lower = name.lower()
        seen[lower] = seen.get(lower, 0) + 1
        yield lower, seen[lower]


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

    def rows(self) -> Iterator[tuple[str, int, str, bytes]]:
        for shown, malformed in self.by_file:
            for line, reason, file, raw in malformed.rows():
                yield self._name(shown, file), line, reason, raw

    def forms(self, together: Layout, layouts: Sequence[Layout]) -> Iterator[tuple[str, LineForm | None]]:
        """Yield how each file's lines are read, by the columns of all; `layouts` are the files' own."""
        for (shown, malformed), layout in zip(self.by_file, layouts, strict=True):
            places = places_in(together, layout)
            for file, form in malformed.forms.items():
                yield self._name(shown, file), form and form.placed(places)

    def _name(self, shown: str, file: str) -> str:
        """Return `_lume_file`: for a single file of corrected rejects, the file where they were first."""
        return shown if len(self.by_file) > 1 else file

    def reader(self) -> str:
        r"""Return SQL for `file`, `line`, `reasons` and `line_text` of all lines; non-UTF-8 bytes become `\xff`."""
        with closing(RowsFile(self.path, 4)) as file:
            for shown, line, reason, raw in self.rows():
                file.write((shown, str(line), reason, raw.decode("utf-8", "backslashreplace") or None))
        names = "_lume_s0 AS file, _lume_s1::BIGINT AS line, _lume_s2 AS reasons, _lume_s3 AS line_text"
        return f"SELECT {names} FROM ({file.reader})"
