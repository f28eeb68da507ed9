"""Whether a version reads all that another one reads, in the same way: the two then share their sources. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from lume_local._flow.definition import Column, Flow
from lume_local._flow.source_settings import OBJECTS, SourceSettings
from lume_local._flow.table_bounds import folded

_APART = ("version", "description", "engine", "source", "columns", "layouts")
"""What two versions may say in other words, as their readings are compared, or what changes no row."""


def includes(one: Flow, other: Flow) -> bool:
    """Return whether a version with layouts has the other's contract, and each of its layouts under the same name.

    A version without layouts counts as one layout, of any name. Without `match`, since it reads files of any path.
    """
    if not one.layouts or any(
        one.definition.get(key) != other.definition.get(key)
        for key in {*one.definition, *other.definition}.difference(_APART)
    ):
        return False
    mine = {layout.name: _Reading(layout.match, layout.source, layout.columns) for layout in one.layouts}
    if not other.layouts:
        alone = _Reading((), other.source, other.columns)
        return any(alone.is_like(reading) for reading in mine.values())
    # Names count: a submission may have named a layout, and so does each rejected row.
    return all(
        layout.name in mine
        and mine[layout.name].is_like(_Reading(layout.match, layout.source, layout.columns))
        for layout in other.layouts
    )


class _Reading(NamedTuple):
    """How files are read, as a version says itself or one of its layouts."""

    match: tuple[str, ...]
    source: SourceSettings
    columns: tuple[Column, ...]

    def is_like(self, other: "_Reading") -> bool:
        """Return whether both read a file that both can read to the same rows. The order of columns is no content."""
        if (
            self.match != other.match
            or self.source != other.source
            or len(self.columns) != len(other.columns)
        ):
            return False
        others = {column.name: column for column in other.columns}
        return all(
            column == (found := others.get(column.name))
            or (found is not None and self._spelled(column) == self._spelled(found))
            for column in self.columns
        )

    def _spelled(self, column: Column) -> tuple[object, ...]:
        """Return the column with its names as far as they matter."""
        if column.aliases is None or self.source.format in OBJECTS:  # whose members are of one spelling
            return tuple(column)
        names, own = list(dict.fromkeys(map(str.lower, column.aliases.names))), column.name.lower()
        # The column's own name is among them unless a layout leaves it out. Where another name stands for all
        # spellings of it, more of them can only be too many.
        if not column.aliases.first and folded(own) in map(folded, _without(names, own)):
            names = _without(names, own)
        return *column._replace(aliases=None), column.aliases.first, *names


def _without(names: Iterable[str], one: str) -> list[str]:
    return [name for name in names if name != one]
