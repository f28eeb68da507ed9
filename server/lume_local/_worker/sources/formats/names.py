"""Finds the columns of a source by the names that a flow uses: the ones it reads, and the others. Pure."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from lume_async._base.elided import elided
from lume_async._base.words import counted, listed
from lume_local._flow.definition import REJECTED_ROWS, RESERVED
from lume_local._flow.table_bounds import folded
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Relation, settings_of

NEW = " (in a new flow version if this one is registered)"
"""The way to correct a flow, in messages."""
MOST_COLUMNS = 10_000
"""The maximum number of a source's columns: DuckDB holds 2,048 values of each in each of seven steps."""
OTHERWISE = "Replay them through a version that reads the columns that they have"
"""The advice about rejected rows that a flow can't read."""


def readable(header: list[str]) -> list[str]:
    """Return a name for each cell of a header: an unnamed one gets its number, namesakes get different names.

    So when a flow's name fits two columns, the first is not read by mistake.
    """
    counts = Counter(header)
    taken = {name.lower() for name in header if name and counts[name] == 1}
    seen: Counter[str] = Counter()
    names = []
    for n, name in enumerate(header, 1):
        seen[name] += 1
        number = seen[name] if name else n
        made = name
        if not name or counts[name] > 1:
            made = f"{name or 'column'}_{number}"
            while made.lower() in taken:
                made += "_"
        taken.add(made.lower())
        names.append(made)
    return names


def relation_of_table(
    reader: str, flow: dict[str, Any], names: list[str], visible: dict[str, int]
) -> Relation:
    """Return the relation of a source with a header, of whose columns the flow sees some."""
    read = set(visible.values())
    unknown = (
        name for n, name in enumerate(names) if n not in read and not name.lower().startswith(RESERVED)
    )
    aliases = {name: [names[n]] for name, n in visible.items() if name.lower() in flow["aliases"]}
    return Relation(reader, tuple(names), visible, unknown=tuple(unknown), aliases=aliases)


def visible_columns(flow: dict[str, Any], names: list[str], shown: str) -> dict[str, int]:
    """Return the columns that the flow's expressions see, by the names they use. Raises `SourceError`."""
    visible: dict[str, int] = {}
    for name, found in fitting_columns(flow, names).items():
        if len(found) != 1:
            message = column_trouble(flow, shown, name, flow["sources"][name], names, found)
            raise SourceError(message, told=_without_header(message, names, spellings(flow, name)))
        visible[name] = found[0]
    return visible


def fitting_columns(flow: dict[str, Any], names: list[str]) -> dict[str, list[int]]:
    """Return the columns that fit each name that the flow's expressions use: one, if the flow can read the source."""
    lower = _places(one.lower() for one in names)
    folds = _places(folded(one.lower()) for one in names) if flow["aliases"] else {}
    return {name: _positions(flow, name, names, lower, folds) for name in flow["sources"]}


def spellings(flow: dict[str, Any], name: str) -> list[str]:
    """Return the names that a source may use for the flow's `name`."""
    aliases = flow["aliases"].get(name.lower())
    return aliases["names"] if aliases else [name]


def _places(names: Iterable[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        places.setdefault(name, []).append(n)
    return places


def _positions(
    flow: dict[str, Any],
    name: str,
    names: list[str],
    lower: dict[str, list[int]],
    folds: dict[str, list[int]],
) -> list[int]:
    """Return the columns that fit, which should be only one; exact names take precedence.

    Case is ignored, unless several columns differ only in case: the flow's spelling then decides, if it has only one.
    """
    wanted = [one.lower() for one in spellings(flow, name)]
    found = [n for one in wanted for n in lower.get(one, ())]
    if name.lower() not in flow["aliases"]:
        is_exact = len(found) > 1 and name.lower() not in flow["respelled"]
        return ([n for n in found if names[n] == name] if is_exact else []) or found
    found = list(dict.fromkeys(found or [n for one in map(folded, wanted) for n in folds.get(one, ())]))
    return found[:1] if flow["aliases"][name.lower()]["first"] else found


def _other_encoding(flow: dict[str, Any], wanted: list[str], names: list[str]) -> str:
    """Return the file's encoding if one of its names is a wanted one spoilt by the flow's encoding."""
    lower = [one.lower() for one in names]
    for encoding in ("utf-8", "cp1252") if flow["format"] in ("csv", "fixed") else ():
        for name in wanted:
            with suppress(UnicodeError):
                spoilt = name.encode(encoding).decode(flow["encoding"])
                if spoilt != name and spoilt.lower() in lower:
                    return encoding
    return ""


def column_trouble(
    flow: dict[str, Any], shown: str, name: str, place: str, names: list[str], found: list[int]
) -> str:
    """Return why the header has no single column of a name that the flow reads, and what to do."""
    of_query = flow["format"] == "sql"
    header = shown if of_query else f"the header of {shown}"
    several = list(dict.fromkeys(names[n] for n in found))
    if len(several) > 1 and name.lower() in flow["aliases"]:
        return _two_aliases(flow, f"{header} names", name, several)
    if found:
        return f"{header} names {name!r} {len(found)} times; {flow['ref']} reads it ({place}): rename one"
    other = version_for(flow, names)
    if shown == REJECTED_ROWS:
        how = f"{other} reads the columns that they have: replay them through that" if other else OTHERWISE
        return lacking(flow, names, name, f"{shown} have", how)
    repeated = [one for one in names if re.fullmatch(rf"{re.escape(name)}_\d+_*", one, re.IGNORECASE)]
    if len(repeated) > 1 and not of_query:
        return (
            f"the header of {shown} names {name!r} {len(repeated)} times, so that they are called "
            f"{' and '.join(map(repr, repeated[:5]))}; {flow['ref']} reads {name!r} ({place}): rename one, or read "
            f"one of these{NEW}"
        )
    wanted = spellings(flow, name)
    others = [one for one in wanted if one != name]
    aliases = f" (or {listed(others, 10)})" if others else ""
    if other:
        return (
            f"{shown} has no column {name!r}{aliases}, which {flow['ref']} reads ({place}). {said_of(other)}"
        )
    if delim := other_delimiter(flow, names):
        layout = f"lume flow map {flow['ref'].partition(' ')[0]} {shlex.quote(shown)}"
        advice = f"set csv.delim = {json.dumps(delim)} in {settings_of(flow)}{NEW}, or add a layout: {layout}"
        seen = f"{'one column, ' if len(names) == 1 else ''}{listed(names, 30)}"
        return (
            f"{shown} has no column {name!r}{aliases}, which {flow['ref']} reads ({place}): its header is {seen}. "
            f"The file is separated by {delim!r}, and the flow reads {flow['csv']['delim']!r}: {advice}"
        )
    if encoding := _other_encoding(flow, wanted, names):
        return (
            f"{shown} has no column {name!r}{aliases}, which {flow['ref']} reads ({place}): its header, read as "
            f"{flow['encoding']}, is {listed(names, 30)}. It looks like {encoding}: set {flow['format']}.encoding = "
            f"{json.dumps(encoding)} in {settings_of(flow)}{NEW}, then run it again"
        )
    spelled = {one.lower(): one for one in names}
    near = next(filter(None, (get_close_matches(one.lower(), spelled, 1, 0.7) for one in wanted)), None)
    hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
    nameless = sum(re.fullmatch(r"column_\d+_*", one) is not None for one in names)
    if not of_query and (2 * nameless >= len(names) or len(names) == 1):
        hint += " If the first line is a title, delete the lines above the header."
    return (
        f"{shown} has no column {name!r}{aliases}, which {flow['ref']} reads ({place}). "
        f"Found: {listed(names, 30)}.{hint} "
        f"{'Change the query' if of_query else 'Fix the header'} or the flow{NEW}, then run it again"
    )


def _without_header(message: str, names: list[str], wanted: list[str]) -> str:
    """Return the message without what the header has: if it is missing, its names are values of the first row."""
    lower = [one.lower() for one in wanted]
    quoted = sorted((repr(one) for one in names if one.lower() not in lower), key=len, reverse=True)
    told = re.sub("|".join(map(re.escape, quoted)), "…", message) if quoted else message
    told = re.sub("…(, …)+", "…", told)
    return re.sub(r" Found: .*?…\.| Did you mean …\?", "", told)


def lacking(flow: dict[str, Any], names: list[str], name: str, whose: str, how: str) -> str:
    """Return the message that rejects, with these columns and Lume's own, lack what the flow reads as `name`."""
    columns = [one for one in names if not one.lower().startswith(RESERVED)]
    read = " or ".join(map(repr, spellings(flow, name)[:10]))
    place = flow["sources"][name]
    return (
        f"{whose} no column {read}, which {flow['ref']} reads ({place}). Found: {listed(columns, 30)}. {how}"
    )


def version_for(flow: dict[str, Any], names: list[str]) -> str | None:
    """Return another version of the flow whose columns the header all has, even with another delimiter."""
    own, quote = flow["csv"]["delim"], flow["csv"]["quote"]
    for read in flow["siblings"]:
        cells = names
        if read["delim"] != own and flow["format"] == "csv":
            cells = [one.strip().strip(quote or None) for one in names[0].split(read["delim"])]
            cells = cells if len(names) == 1 else []
        there = {one.strip().lower() for one in cells}
        folds = set(map(folded, there))
        has = [
            # The spelling of aliases is matched loosely.
            any(one.lower() in there or (len(spelled) > 1 and folded(one) in folds) for one in spelled)
            for spelled in read["names"]
        ]
        if has and all(has):
            return str(read["ref"])
    return None


def said_of(other: str | None, what: str = "Its header is that") -> str:
    """Return the hint that another version reads such a file."""
    return f"{what} of {other}, another version of this flow: run {other} on it" if other else ""


def _two_aliases(flow: dict[str, Any], has: str, name: str, several: list[str]) -> str:
    return (
        f"{has} {' and '.join(map(repr, several[:5]))}, each of which {flow['ref']} reads as {name!r}: remove "
        f"one, or set columns.{name}.from = {{ first = […] }}{NEW}, so that the first in that list is read"
    )


def other_delimiter(flow: dict[str, Any], names: list[str]) -> str | None:
    """Return the delimiter that would yield columns the flow reads, or several instead of one that is no title."""
    wanted = {one.lower() for name in flow["sources"] for one in spellings(flow, name)}
    if flow["format"] != "csv" or wanted & {name.lower() for name in names}:
        return None
    quote, header = flow["csv"]["quote"], flow["csv"]["delim"].join(names)
    hits: dict[str, int] = {}
    for delim in ";,\t|^~".replace(flow["csv"]["delim"], ""):
        pieces = {piece.strip().strip(quote or None).strip().lower() for piece in header.split(delim)}
        hits[delim] = len(wanted & pieces) if len(pieces) > 1 else 0
    best = max(hits, key=lambda delim: hits[delim])
    if hits[best] or len(names) > 1:
        return best if hits[best] else None
    cells = {delim: header.split(delim) for delim in hits if delim in header}
    # After a comma in a title comes a blank.
    return next(
        (delim for delim, each in cells.items() if all(one and one == one.strip() for one in each)), None
    )


def check_columns(flow: dict[str, Any], relation: Relation) -> None:
    """Refuse more columns than a run can hold, unread ones, if the flow demands it, and obvious mistakes in names.

    Raises:
        SourceError: there are such columns; or the objects of a JSON source have nothing that the flow reads, or have
            it in another case: their names are case-sensitive.
    """
    if len(relation.raw) > MOST_COLUMNS:
        raise SourceError(
            f"the source has {counted(len(relation.raw), 'column')}, of which {flow['ref']} reads "
            f"{len(relation.seen):,}, and a run holds up to {MOST_COLUMNS:,}, since a rejected row keeps the "
            "values of all: remove columns that the flow does not read from the file, then run it again"
        )
    for _, form, own in relation.by_layout(flow):
        _check_names(form, own)


def _check_names(flow: dict[str, Any], relation: Relation) -> None:
    spelled = {one.lower(): one for one in relation.members if not one.lower().startswith(RESERVED)}
    absent = _absent(flow, relation)
    wrong = absent if len(absent) == len(relation.raw) else [one for one in absent if one.lower() in spelled]
    if wrong:
        near = get_close_matches(wrong[0].lower(), spelled, 1, 0.7)
        hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
        how = said_of(version_for(flow, list(relation.members)), "Its objects are those")
        message = (
            f"no object of the source has {wrong[0]!r}, which {flow['ref']} reads ({flow['sources'][wrong[0]]}). "
            f"Found: {listed([*spelled.values()], 30) or 'objects without members'}."
            + (f" {how}" if how else f"{hint} Fix the source or the flow{NEW}, then run it again")
        )
        raise SourceError(message, told=_without_header(message, [*spelled.values()], wrong))
    if relation.unknown and flow["on_unknown_columns"] == "fail":
        raise SourceError(
            f"the source has columns that {flow['ref']} does not read: {listed(relation.unknown, 10)}. Register a "
            'flow version that reads them, or that sets on_unknown_columns = "warn"'
        )


def check_members(flow: dict[str, Any], relation: Relation, shown: str) -> None:
    """Refuse a file of objects that have a column under two of its aliases. Raises `SourceError`."""
    for name, found in relation.aliases.items():
        if len(found) > 1 and not flow["aliases"][name.lower()]["first"]:
            raise SourceError(_two_aliases(flow, f"the objects of {shown} have", name, found))


def _absent(flow: dict[str, Any], relation: Relation) -> list[str]:
    """Return the names that the flow reads but no object has, if there are objects."""
    members = set(relation.members)
    return [name for name in relation.raw if members and members.isdisjoint(spellings(flow, name))]


Headers = Mapping[str, list[str]]
"""Columns by layout; by an empty name for a version without layouts."""


def noted(
    flow: dict[str, Any],
    relation: Relation,
    before: Headers,
    counts: Mapping[str, dict[str, Any]],
    *,
    of_rejects: bool,
) -> dict[str, Any]:
    """Return the metrics of the columns; the next source is compared with the one before the rejects.

    Args:
        counts: further metrics of each layout.
    """
    if not relation.branches:
        return _names_noted(flow, relation, before.get("") if of_rejects else _header(relation))
    layouts = dict[str, Any]()
    for layout, form, own in relation.by_layout(flow):
        if layout not in counts:  # rejects without a row
            continue
        header = before.get(layout) if of_rejects else _header(own)
        # Whoever adds a layout looks at the headers that others were recognised by.
        layouts[layout] = counts[layout] | _names_noted(form | {"on_unknown_columns": "warn"}, own, header)
    return {"layouts": layouts}


def _names_noted(flow: dict[str, Any], relation: Relation, header: list[str] | None) -> dict[str, Any]:
    known = {} if header is None or flow["on_unknown_columns"] != "warn" else {"header": header}
    spelled = {name: list(map(elided, found)) for name, found in relation.aliases.items()}
    return known | ({"aliases": spelled} if spelled else {})


def changes(flow: dict[str, Any], relation: Relation, before: Headers, *, of_rejects: bool) -> dict[str, int]:
    """Return warnings: members that no object has; all unread columns at first, later only new and missing ones."""
    return {
        f"{found} ({layout})" if layout else found: 1
        for layout, form, own in relation.by_layout(flow)
        for found in _changes(form, own, before.get(layout), of_rejects=of_rejects)
    }


def _changes(
    flow: dict[str, Any], relation: Relation, before: list[str] | None, *, of_rejects: bool
) -> list[str]:
    found = [f"no row has {name!r}" for name in _absent(flow, relation)]
    if flow["on_unknown_columns"] == "warn":
        if of_rejects:
            found += [f"column {name!r} of the rejected rows is not read" for name in relation.unknown]
        elif before is None:
            found += [f"column {name!r} is not read" for name in relation.unknown]
        else:
            header, unknown = _header(relation), map(elided, relation.unknown)
            found += [f"column {name!r} is new, and not read" for name in unknown if name not in before]
            found += [f"column {name!r} is gone" for name in before if name not in header]
    return found


def _header(relation: Relation) -> list[str]:
    """Return all columns, read or not, as they are noted; in a file of rejects without Lume's own."""
    names = dict.fromkeys([*relation.raw, *relation.unknown])
    return [elided(name) for name in names if not name.lower().startswith(RESERVED)]
