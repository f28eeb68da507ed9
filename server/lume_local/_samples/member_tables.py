"""Groups the members of an archive by the tables that they hold, by their beginnings. Pure."""

import codecs
import io
import json
import re
from collections.abc import Mapping, Sequence
from glob import escape
from os.path import commonprefix
from pathlib import PurePosixPath

from attrs import evolve, frozen

from lume_async._base.elided import elided
from lume_async._base.words import listed
from lume_local._flow.patterns import Pattern
from lume_local._flow.table_bounds import folded
from lume_local._samples.infer import delimiter
from lume_local._samples.raw import is_xml, json_format
from lume_local._samples.table_start import start_of_lines
from lume_local._shared import magic

HEAD = 16 * 1024
"""Bytes of a member by which its table is known."""
_NOTES = frozenset(
    {".txt", ".md", ".pdf", ".html", ".yaml", ".yml", ".zip", ".7z", ".rar", ".tar", ".tgz"}
    | {".do", ".sas", ".sps", ".r", ".py", ".sql", ".sh"}  # programs that read the data
)
_DESCRIPTIONS = frozenset({"datapackage", "manifest", "metadata", "package", "schema"})
_ROOT = re.compile(r"<([A-Za-z_][\w.:-]*)")
_NUMBERS = re.compile(r"\d+(?:[-_.]?\d+)*")
_SHOWN, _LONGEST = 5, 200


@frozen
class MemberTable:
    """Members of one format whose columns have the same names.

    Attributes:
        members: their names in the archive.
        columns: the names in the first one; empty if they are not known by its beginning.
        delim: the delimiter of CSV files; empty for others.
        names: the names of the columns, however they are spelled.
    """

    members: list[str]
    columns: tuple[str, ...]
    delim: str
    names: frozenset[str]

    @property
    def shown(self) -> str:
        """The members and the columns, for messages."""
        columns = f" ({elided(listed(self.columns, _SHOWN, str), _LONGEST)})" if self.columns else ""
        return f"{listed(self.members, _SHOWN)}{columns}"


def tables_of(heads: Mapping[str, bytes], sizes: Mapping[str, int]) -> list[MemberTable]:
    """Return the tables of the members, the one to read first: it has the most members, or the most bytes.

    Members with further columns belong to it.
    """
    groups = dict[object, MemberTable]()
    for name, head in heads.items():
        columns, delim, key = _columns_in(name, head)
        if key not in groups:
            groups[key] = MemberTable([], columns, delim, frozenset(map(folded, columns)))
        groups[key].members.append(name)
    named = [one for one in groups.values() if one.names]

    def with_wider(table: MemberTable) -> MemberTable:
        wider = [one for one in named if table.names and one.delim == table.delim and table.names < one.names]
        return evolve(table, members=[*table.members, *(name for one in wider for name in one.members)])

    def rank(table: MemberTable) -> tuple[bool, int, bool, int]:
        size = sum(sizes[name] for name in table.members)
        return is_note(table.members[0]), -len(table.members), not table.delim, -size

    first = min(map(with_wider, groups.values()), key=rank)
    read = set(first.members)
    others = [one for one in groups.values() if one.members[0] not in read]
    return [first, *sorted(others, key=rank)]


def is_note(name: str) -> bool:
    """Return whether it is rather a note, a description or a program beside the data, or an archive."""
    path = PurePosixPath(name.lower())
    return path.suffix in _NOTES or (path.suffix in (".json", ".xml") and path.stem in _DESCRIPTIONS)


def patterns_for(wanted: Sequence[str], members: Sequence[str]) -> str | list[str]:
    """Return `members` of `[source]` for these of the members: one pattern if possible, which other numbers match."""
    suffixes = {PurePosixPath(name).suffix for name in wanted}
    suffix = escape(suffixes.pop()) if len(suffixes) == 1 else ""
    prefix = escape(commonprefix(wanted))  # noqa: RUF071 - of characters, not of folders
    tries = ["*" + suffix, "**/*" + suffix, "*".join(map(escape, _NUMBERS.split(wanted[0])))]
    if len(wanted) > 1:
        tries.append(f"{prefix}*{suffix}")
    for one in tries:
        if {name for name in members if Pattern(one).matches(name)} == set(wanted):
            return one
    return escape(wanted[0]) if len(wanted) == 1 else [*map(escape, wanted)]


def _columns_in(name: str, head: bytes) -> tuple[tuple[str, ...], str, object]:
    """Return the names of the columns, the delimiter, and what members of the same table have in common."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    other: object = (suffix, _NUMBERS.sub("", path.stem.lower()).strip("-_. "))
    if not head or magic.kind_of(head[: magic.LENGTH]) not in (None, magic.XML):
        return (), "", other
    if json_format(io.BytesIO(head)):
        keys = _keys_in(head)
        return keys, "", ("json", frozenset(keys)) if keys else other
    if is_xml(io.BytesIO(head)):
        root = _ROOT.search(head.decode(errors="replace").replace("\0", ""))
        return (), "", ("xml", root[1] if root else other)
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = head.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    if "\ufffd" in text[:-1]:  # where it is cut off, a letter may be incomplete
        text = head.decode("cp1252", errors="replace")
    lines = text.splitlines(keepends=True)
    lines = lines[:-1] if len(head) == HEAD and len(lines) > 1 else lines
    delim = delimiter(lines)
    start = start_of_lines(lines, delim)
    columns = tuple(cell.strip() for cell in start.names if cell.strip())
    if start.is_row or not columns:
        return (), delim, (suffix, delim, len(start.names))
    return columns, delim, (suffix, delim, frozenset(map(folded, columns)))


def _keys_in(head: bytes) -> tuple[str, ...]:
    """Return the members of the first object; none if it does not end in the beginning."""
    text = head.decode("utf-8-sig", errors="replace")
    try:
        found, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    except (ValueError, RecursionError):
        return ()
    return tuple(found)
