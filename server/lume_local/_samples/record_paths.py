"""Finds the records in a JSON or XML sample, and the names of nested fields. The result is a guess."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from attrs import frozen

from lume_async._base.words import counted
from lume_async.errors import ConfigurationError
from lume_local._flow.source_settings import why_unreadable
from lume_local._shared.failing import require

_DEEPEST = 4
"""Maximum depth of members or elements to search."""
_BYTES = 4 * 1024 * 1024
_PIECE = 64 * 1024


@frozen
class RecordPath:
    """The path to the records, and what to check."""

    steps: list[str]
    doubts: list[str]


def path_in_json(value: Any) -> RecordPath | None:
    """Return the path to the most records in an object; None if it has no arrays of objects."""
    found = sorted(_arrays(value, []), key=lambda one: (-one[1], len(one[0])))
    if not found:
        return None
    (steps, count), *others = found
    shown = ".".join(steps)
    asked = [f"the records are taken to be the {counted(count, 'object')} in {shown!r}: is that right?"]
    if others:
        listed = ", ".join(f"{'.'.join(path)!r} ({number:,})" for path, number in others[:5])
        asked.append(f"there are others in {listed}")
    return RecordPath(steps, asked)


def _arrays(value: Any, path: list[str]) -> Iterator[tuple[list[str], int]]:
    """Yield the arrays of objects in an object, with their lengths."""
    if not isinstance(value, dict) or len(path) >= _DEEPEST:
        return
    for name, inner in value.items():
        here = [*path, name]
        if isinstance(inner, list) and any(isinstance(one, dict) for one in inner):
            yield here, len(inner)
        else:
            yield from _arrays(inner, here)


def names_in(objects: Iterable[Any]) -> list[str]:
    """Return the members of objects that a flow can read; nested ones as in `address.city`."""
    found: dict[tuple[str, ...], bool] = {}
    for one in objects:
        if isinstance(one, dict):
            for steps, value in leaves(one):
                found[steps] = found.get(steps, False) or value is not None
    readable = [(".".join(steps), found[steps]) for steps in found if why_unreadable(steps) is None]
    inner = {name[:at] for name, _ in readable for at, letter in enumerate(name) if letter == "."}
    # A member may be null in one object, and an object in another.
    kept = dict.fromkeys(name for name, has_value in readable if has_value or name not in inner)
    place = {name: n for n, name in enumerate(dict.fromkeys(name.partition(".")[0] for name, _ in readable))}
    return sorted(kept, key=lambda name: place[name.partition(".")[0]])


def leaves(value: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the members that are not objects, or are too deep, each with the names on the path to it."""
    for name, inner in value.items():
        steps = (*above, name)
        if isinstance(inner, dict) and inner and len(steps) < _DEEPEST:
            yield from leaves(inner, steps)
        else:
            yield steps, inner


DEEPEST_XML = 256
"""The limit of libxml2."""


def path_in_xml(file: IO[bytes], name: str) -> RecordPath:
    """Return the path to the outermost repeated elements with content, judged by the beginning of the file.

    Raises:
        ConfigurationError: it is not well-formed.
    """
    require("lxml", "xml", "reading XML")
    from lxml import etree

    parser: Any = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    path: list[str] = []
    counts: Counter[tuple[str, ...]] = Counter()
    parents: set[tuple[str, ...]] = set()
    try:
        for _ in range(0, _BYTES, _PIECE):
            if piece := file.read(_PIECE):
                parser.feed(piece)
            else:
                parser.close()
            for event, element in parser.read_events():
                if event == "end":
                    path.pop()
                    element.clear()
                    continue
                parents.add(tuple(path))
                path.append(str(element.tag).rpartition("}")[2])
                counts[tuple(path)] += 1
                if element.attrib:
                    parents.add(tuple(path))
            if not piece:
                break
    except etree.XMLSyntaxError as error:
        why = f"is not well-formed XML ({error})"
        if "depth" in str(error):
            why = f"has more than {DEEPEST_XML} elements within each other, the most that is read"
        raise ConfigurationError(f"{name} {why}: correct it there") from None
    whole = [one for one in counts if one in parents and len(one) > 1] or list(counts)
    if not whole:
        raise ConfigurationError(f"{name} is not XML: it has no element")
    chosen = min(whole, key=lambda one: (counts[one] == 1, len(one), -counts[one]))
    shown = "/".join(chosen)
    return RecordPath(
        list(chosen),
        [f"the records are taken to be the elements {shown!r} ({counts[chosen]:,} seen): is that right?"],
    )
