"""Whether a version reads all that another one reads, in the same way: the two then share their sources. Pure."""

from lume_local._flow.definition import Column, Flow, FlowLayout
from lume_local._flow.source_settings import OBJECTS
from lume_local._flow.table_bounds import folded

_APART = ("version", "description", "engine", "source", "columns", "layouts")
"""What changes no row, or is compared by what it means for each layout."""


def includes(one: Flow, other: Flow) -> bool:
    """Return whether a version with layouts has the other's contract, and each of its layouts under the same name.

    A version without layouts counts as one layout of any name, without `match`.
    """
    if not one.layouts or any(
        one.definition.get(key) != other.definition.get(key)
        for key in {*one.definition, *other.definition}.difference(_APART)
    ):
        return False
    if not other.layouts:
        alone = FlowLayout("", (), other.source, other.columns)
        return any(_read_alike(layout, alone) for layout in one.layouts)
    # Names count: a request may have named a layout, and each rejected row does.
    mine = {layout.name: layout for layout in one.layouts}
    return all(layout.name in mine and _read_alike(mine[layout.name], layout) for layout in other.layouts)


def _read_alike(one: FlowLayout, other: FlowLayout) -> bool:
    """Return whether both read a file to the same rows, if both can read it. The order of columns is no content."""
    if one.match != other.match or one.source != other.source or len(one.columns) != len(other.columns):
        return False
    others = {column.name: column for column in other.columns}
    of_objects = one.source.format in OBJECTS
    return all(
        column == (found := others.get(column.name))
        or (found is not None and not of_objects and _in_tables(column) == _in_tables(found))
        for column in one.columns
    )


def _in_tables(column: Column) -> tuple[object, ...]:
    """Return the column with its names as far as they matter in a header, where case does not.

    Its own name does not matter if another one stands for all spellings of it: with more exact names a header can
    only have too many of them. Only layouts leave it out.
    """
    if column.aliases is None:
        return tuple(column)
    own, is_first = column.name.lower(), column.aliases.first
    names = list(dict.fromkeys(name.lower() for name in column.aliases.names))
    others = [name for name in names if name != own]
    is_meant = not is_first and folded(own) in map(folded, others)
    return *column._replace(aliases=None), is_first, *(others if is_meant else names)
