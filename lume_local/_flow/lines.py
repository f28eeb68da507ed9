"""In which line of a flow file a mistake is. The parser of TOML keeps no lines, so they are looked for. Pure."""

import re

from lume_local._flow.fields import FlowError


def with_line(error: FlowError, text: str) -> FlowError:
    """The error, with the line that it stands in, as far as that is known."""
    if error.place:
        error.line = line_of(error.place, text)
    elif found := re.search(r"\(at line (\d+), column \d+\)", error.problem):
        error.line = int(found[1])
    return error


def line_of(place: str, text: str) -> int | None:
    """The line that a place such as `columns.email.pattern` or `rules[0].sql` stands in, as far as it is known."""
    lines, best, wanted = text.splitlines(), None, _spelled(_names(place))
    table: list[str] = []
    entries: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        header = re.match(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$", line)
        if header and header[1] == "[[":
            table = [header[2], str(entries.get(header[2], 0))]
            entries[header[2]] = entries.get(header[2], 0) + 1
        elif header:
            table = _names(header[2])
        key = re.match(r"""\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=""", line)
        here = _spelled(table if header else [*table, *_names(key[1])] if key else [])
        if here and f"{wanted}.".startswith(f"{here}."):
            best = number
            if here == wanted:
                break
    return best


def _spelled(names: list[str]) -> str:
    """As places have it, which do not quote a name with dots."""
    return ".".join(names)


def _names(path: str) -> list[str]:
    """`columns."a.b".sql` as its parts; an index counts as one."""
    parts = re.findall(r""""([^"]*)"|'([^']*)'|\[(\d+)\]|([^.\[\]"']+)""", path)
    return [next(filter(None, part), "").strip() for part in parts]
