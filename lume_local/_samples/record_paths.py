"""Where the records of a JSON or XML sample are, and the names of nested fields. What it finds is a guess."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from attrs import frozen

from lume_async._base.extras import require
from lume_async._base.words import counted
from lume_async.errors import ConfigurationError

_DEEPEST = 4
"""Members, or elements, within each other that are looked into."""
_BYTES = 4 * 1024 * 1024
_PIECE = 64 * 1024


@frozen
class RecordPath:
    """The way to the records, and what to check."""

    steps: list[str]
    doubts: list[str]


def path_in_json(value: Any) -> RecordPath | None:
    """Where in an object most records are; None if it has no arrays of objects."""
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
    """The arrays of objects in an object, and how many these are."""
    if not isinstance(value, dict) or len(path) >= _DEEPEST:
        return
    for name, inner in value.items():
        here = [*path, name]
        if isinstance(inner, list) and any(isinstance(one, dict) for one in inner):
            yield here, len(inner)
        else:
            yield from _arrays(inner, here)


def names_in(objects: Iterable[Any]) -> list[str]:
    """The members of objects; of nested objects their own, such as `address.city`."""
    found: dict[str, bool] = {}
    for one in objects:
        if isinstance(one, dict):
            for name, has_value in _leaves(one, ""):
                found[name] = found.get(name, False) or has_value
    inner = {name[:at] for name in found for at, letter in enumerate(name) if letter == "."}
    # What is nothing in one object may be an object in another.
    kept = [name for name, has_value in found.items() if has_value or name not in inner]
    place = {name: n for n, name in enumerate(dict.fromkeys(name.partition(".")[0] for name in found))}
    return sorted(kept, key=lambda name: place[name.partition(".")[0]])


def _leaves(value: Mapping[str, Any], prefix: str, depth: int = 1) -> Iterator[tuple[str, bool]]:
    for name, inner in value.items():
        if isinstance(inner, dict) and inner and depth < _DEEPEST:
            yield from _leaves(inner, f"{prefix}{name}.", depth + 1)
        else:
            yield f"{prefix}{name}", inner is not None


def path_in_xml(file: IO[bytes], name: str) -> RecordPath:
    """The elements that repeat and have something in them, as far up as there are any; the beginning decides.

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
        raise ConfigurationError(f"{name} is not well-formed XML ({error}): correct it there") from None
    whole = [one for one in counts if one in parents and len(one) > 1] or list(counts)
    if not whole:
        raise ConfigurationError(f"{name} is not XML: it has no element")
    chosen = min(whole, key=lambda one: (counts[one] == 1, len(one), -counts[one]))
    shown = "/".join(chosen)
    return RecordPath(
        list(chosen),
        [f"the records are taken to be the elements {shown!r} ({counts[chosen]:,} seen): is that right?"],
    )
