"""Compares two flow versions part by part; each is a file, or a version of the server."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

if TYPE_CHECKING:
    from lume_async import Client
    from lume_cli._session import CommandSession

_NAMES = ("flow", "version")
"""Two versions always differ in these."""
_LAYOUT = re.compile(r"layouts\.([\w-]+)")


@frozen
class Difference:
    """A part of a flow that only one of two versions has, or that differs.

    Attributes:
        place: its place, such as `columns.email.pattern`.
        before: the value in the first version; None if it lacks the part.
        after: the value in the second version.
    """

    place: str
    before: Any
    after: Any

    def lines(self) -> list[str]:
        """Format it as `- place = before` and `+ place = after`."""
        both = (("-", self.before), ("+", self.after))
        return [
            f"{sign} {self.place} = {json.dumps(value, ensure_ascii=False)}"
            for sign, value in both
            if value is not None
        ]


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """Return the differences, in the order of the first version, then of the second."""
    old, new = dict(_parts(before, "")), dict(_parts(after, ""))
    places = [place for place in {**old, **new} if place not in _NAMES]
    found = [Difference(place, old.get(place), new.get(place)) for place in places]
    return [one for one in found if one.before != one.after]


def report(found: Sequence[Difference], before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the differences as lines; those of a layout last, below a line that says what became of it."""
    lines, of_layouts = list[str](), dict[str, list[str]]()
    for one in found:
        layout = _LAYOUT.match(one.place)
        (of_layouts.setdefault(layout[1], []) if layout else lines).extend(one.lines())
    for name, own in of_layouts.items():
        was, is_there = (name in _layouts(flow) for flow in (before, after))
        lines += [f"layout {name}: {'changed' if was and is_there else 'removed' if was else 'added'}", *own]
    return lines


def _layouts(flow: dict[str, Any]) -> dict[str, Any]:
    layouts = flow.get("layouts")
    return layouts if isinstance(layouts, dict) else {}


def _parts(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield every value below this one with its place; rules are identified by name."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _parts(below, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for number, one in enumerate(value):
            name = one.get("name", number)
            yield from _parts({key: part for key, part in one.items() if key != "name"}, f"{place}.{name}")
    else:
        yield place, value


async def pair(client: "Client", before: str, after: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the definitions of two versions, each a file or one of the server. Raises `click.ClickException`.

    If only a file is given, the first is the registered version of the same name.
    """
    if after is not None:
        return await definition_of(client, before), await definition_of(client, after)
    if not is_file(before):
        raise click.UsageError("name two flow versions, or a flow file (*.toml)")
    new = read_flow(Path(before))
    ref = f"{new.get('flow')}:{new.get('version')}"
    return (await client.flow_version(ref)).definition, new


async def definition_of(client: "Client", name: str) -> dict[str, Any]:
    """Read a definition from a file or the server. Raises `click.ClickException` as `read_flow` does."""
    return read_flow(Path(name)) if is_file(name) else (await client.flow_version(name)).definition


async def definition_for(session: "CommandSession", name: str) -> dict[str, Any]:
    """Do the same without a client, whose settings a file doesn't need."""
    if is_file(name):
        return read_flow(Path(name))
    async with session.client() as client:
        return await definition_of(client, name)


def is_file(name: str) -> bool:
    """Return whether the name is a file's, not a flow version's."""
    return name.endswith(".toml") or Path(name).is_file()


def read_flow(path: Path) -> dict[str, Any]:
    """Return the content of a flow file. Raises `click.ClickException` if it can't be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise click.UsageError(f"{path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise click.ClickException(f"{path} is not valid TOML: {error}") from None
