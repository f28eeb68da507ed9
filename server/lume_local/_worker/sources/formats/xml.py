"""Reads an XML source, whose records are the elements at a path, as NDJSON objects. Needs the extra `xml`.

An object has the text of attributes and elements by their paths within the record: `@id`, `customer/name`,
`customer/@no`; repeated ones are called `item`, `item[2]` and so on. Names have no namespaces.

A document can't make this process read, fetch or build more than the document itself: a document type declaration,
without which there are no entities, is refused; libxml2 limits names, text and depth; and completed elements are
removed from the tree at once.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import orjson
from attrs import field, mutable

from lume_local._samples.record_paths import DEEPEST_XML
from lume_local._worker.sources.files import blocks
from lume_local._worker.sources.formats.json import Found, read_objects
from lume_local._worker.sources.formats.names import MOST_COLUMNS, NEW
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Relation, settings_of

_PIECE = 64 * 1024
"""Bytes to parse at a time."""
LONGEST = 16 * 1024 * 1024
"""Bytes of a record, in the document and as an object: its tree takes several times as many."""
_MOST_NAMED, _MANY = 20, 200
_SPACE = " \t\r\n"


def read_xml(reading: Reading) -> Relation:
    """Read each record as an object. Raises `SourceError`."""
    found = ((orjson.dumps(record), path, n) for record, path, n in records_of(reading))
    return read_objects(reading, found, "record")


def records_of(reading: Reading) -> Iterator[Found]:
    """Return the records as objects. Raises `SourceError`."""
    return _Document(reading).records()


@mutable
class _Document:
    reading: Reading
    _wanted: list[str] = field(init=False)
    _path: list[str] = field(factory=list, init=False)
    """The names of the open elements, up to a record."""
    _within: int = field(default=0, init=False)
    """The number of open elements in a record, including itself."""
    _found: int = field(default=0, init=False)
    _others: dict[str, None] = field(factory=dict, init=False)
    """The paths of elements where a record, or an element leading to one, could have been."""

    _counts: list[int] = field(init=False)
    """For each element on the way to the records: how many of that name there were in the one above it."""

    def __attrs_post_init__(self) -> None:
        self._wanted = self.reading.flow["records"]
        self._counts = [0] * len(self._wanted)

    def records(self) -> Iterator[Found]:
        """Yield each record. Raises `SourceError`."""
        from lxml import etree

        etree.clear_error_log()  # drops errors of earlier documents
        parser = etree.XMLPullParser(
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        since = 0  # bytes parsed since something was removed from the tree
        read = blocks(self.reading.path, self.reading.pause)
        pieces = (block[at : at + _PIECE] for block in read for at in range(0, len(block), _PIECE))
        try:
            for piece in chain(pieces, [b""]):
                parser.feed(piece) if piece else parser.close()
                since += len(piece)
                for event, element in parser.read_events():
                    if event == "start":
                        self._starts(element)
                    elif (ended := self._ends(element)) is not None:
                        since = 0
                        yield from ended
                if since > LONGEST:
                    raise self._too_long()
        except etree.XMLSyntaxError as error:
            log: Any = error.error_log  # the exception may be about the end only
            words = f"{log[0].message}, line {log[0].line}" if len(log) else str(error)
            if "depth" in words:
                raise self._refused(f"has more than {DEEPEST_XML} elements within each other") from None
            raise self._refused(f"is not well-formed XML: {words}") from None
        if not self._found:
            wanted, there = "/".join(self._wanted), ", ".join(map(repr, self._others))
            raise SourceError(
                f"{self.reading.shown} has no element {wanted!r}, where {self.reading.flow['ref']} reads its "
                f"records. Found: {there}. Fix xml.records in {settings_of(self.reading.flow)}{NEW}, then run it "
                "again"
            )

    def _starts(self, element: Any) -> None:
        """Follow the path to an element; within a record, only count the depth."""
        if self._within:
            self._within += 1
            return
        if not self._path and element.getroottree().docinfo.doctype:
            raise self._refused(
                "has a document type declaration (<!DOCTYPE …>), which may define entities and is not read: remove it"
            )
        self._path.append(_local(element.tag))
        level, wanted = len(self._path), self._wanted
        if self._path == wanted[:level]:
            self._counts[level - 1 :] = [self._counts[level - 1] + 1, *[0] * (len(wanted) - level)]
        if self._path == self._wanted:
            self._within = 1
        elif self._path[:-1] == self._wanted[: len(self._path) - 1] and len(self._others) < _MOST_NAMED:
            self._others["/".join(self._path)[:200]] = None

    def _place(self) -> tuple[str, int | None]:
        """Return the path of the elements that a record is one of, and its number among them."""
        root, *others = self._wanted
        if not others:
            return f"/{root}", None
        above = (f"/{name}[{n}]" for name, n in zip(others[:-1], self._counts[1:-1], strict=True))
        return f"/{root}{''.join(above)}/{others[-1]}", self._counts[-1]

    def _ends(self, element: Any) -> list[Found] | None:
        """Return the record that ends here, or none outside of records; None if a record continues."""
        if self._within > 1:
            self._within -= 1
            return None
        ended = list[Found]()
        if self._within:
            ended.append((self._object(element), *self._place()))
            self._within, self._found = 0, self._found + 1
        self._path.pop()
        # The parser continues after the last child of an open element, so that one must stay.
        element.clear(keep_tail=True)
        parent = element.getparent()
        while parent is not None and (before := element.getprevious()) is not None:
            parent.remove(before)
        return ended

    def _object(self, record: Any) -> dict[str, str | None]:
        """Return the text of each path in a record, in the order of the document."""
        found: dict[str, str | None] = {}
        left: list[tuple[Any, str]] = [(record, "")]
        size = 0
        while left:
            element, path = left.pop()
            children = list(element)
            begin = f"{path}/" if path else ""
            named = [(f"{begin}@{_local(name)}", value.strip(_SPACE)) for name, value in _attributes(element)]
            text = "".join([element.text or "", *(child.tail or "" for child in children)]).strip(_SPACE)
            if text or (not children and path):
                named.append((path or ".", text))
            for name, value in named:
                free, number = name, 1
                while free in found:  # for example by an attribute of another namespace
                    number += 1
                    free = f"{name}[{number}]"
                found[free] = value or None
            counts = Counter[str]()
            below = []
            for child in children:
                name = _local(child.tag)
                counts[name] += 1
                below.append((child, f"{begin}{name}" + (f"[{counts[name]}]" if counts[name] > 1 else "")))
            left += reversed(below)
            size += sum(len(name) + len(value) for name, value in named) + sum(len(name) for _, name in below)
            if size > LONGEST:
                raise self._too_long()
            if len(found) > MOST_COLUMNS:
                raise self._refused(
                    f"has more than {MOST_COLUMNS:,} elements and attributes with values in {'/'.join(self._wanted)} "
                    f"number {self._found + 1:,}, and a run holds no more columns"
                )
        return found

    def _refused(self, why: str) -> SourceError:
        return SourceError(f"{self.reading.shown} {why}. Correct it, or have it written again")

    def _too_long(self) -> SourceError:
        wanted = "/".join(self._wanted)
        return self._refused(
            f"has more than {LONGEST:,} bytes in {wanted} number {self._found + 1:,}, or before it: no record may be "
            "longer"
        )


def _attributes(element: Any) -> Sequence[tuple[str, str]]:
    """Return names and values. `items()` searches each from the first: 30,000 attributes would take seconds."""
    if len(element.keys()) < _MANY:
        found: Sequence[tuple[str, str]] = element.items()
        return found
    return [(one.attrname, str(one)) for one in element.xpath("@*")]


def _local(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition("}")[2]
