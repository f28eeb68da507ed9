"""The names that sources may have for a column: `from` in its table. Pure."""

import unicodedata

from attrs import frozen

from lume_local._flow.fields import FlowError, Table


@frozen
class Aliases:
    """The names of a column in sources.

    Attributes:
        names: in the order of the flow. The column's own is added last if the flow does not list it, unless one of
            them is a field within it.
        first: whether a source with several of them is read by the first; else that is an error.
    """

    names: tuple[str, ...]
    first: bool


def read_aliases(name: str, table: Table) -> Aliases | None:
    """Return `from`: a list of names, or `{ first = […] }`."""
    holder = table
    if is_first := isinstance(table.values.get("from"), dict):
        holder = table.table("from")
    names = holder.scalars("first" if is_first else "from")
    if is_first:
        holder.no_more()
    for one in names:
        if not isinstance(one, str) or not one.strip() or len(one) > 200:
            raise FlowError(f"{table.place}.from", f"{one!r} is not a name of 1 to 200 characters")
        if not folded(one):
            raise FlowError(f"{table.place}.from", f"{one!r} has no letter or digit to compare")
    is_within = any(one.lower().startswith(f"{name.lower()}.") for one in names)
    if names and name not in names and not is_within:
        lower = [one.lower() for one in names]
        at = lower.index(name.lower()) + 1 if name.lower() in lower else len(names)
        names = [*names[:at], name, *names[at:]]
    return Aliases(tuple(names), is_first) if names else None


def folded(name: str) -> str:
    """Return a name without the differences between spellings: case, width, accents, blanks and `_-.`."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in decomposed if not (unicodedata.combining(c) or c.isspace() or c in "_-."))
