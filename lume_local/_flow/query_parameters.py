"""The query of a source, with `:source_path` as the parameter of the database that it is sent to. Pure.

A parameter is never a part of the text: the database gets query and value apart from each other.
"""

import re
from collections.abc import Iterator

PARAMETER = "source_path"
_TOKEN = re.compile(
    r"""
    (?P<kept> [eE]'(?:[^'\\]|\\.|'')*+'         # a text with escapes
            | '(?:[^']|'')*+'                   # a text
            | "(?:[^"]|"")*+"                   # a name
            | `[^`]*+` | --[^\n]*+
            | \$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$
            | :: | :=
            | \w++ )
  | (?P<comment> /\*)
  | :(?P<name> [A-Za-z_]\w*+)
  | (?P<end> ;)
  | (?P<open> ['"`] | \$[A-Za-z_]*\$)
  | (?P<other> .)
    """,
    re.VERBOSE | re.DOTALL,
)


class QueryRefused(ValueError):
    """A query that can't be sent. The message says why."""


def with_parameter(query: str, marker: str) -> tuple[str, bool]:
    """The query with `marker` in place of `:source_path`, and whether it has one. Raises `QueryRefused`."""
    parts = list(_parts(query.strip().removesuffix(";")))
    return "".join(marker if part is None else part for part in parts), None in parts


def _parts(query: str) -> Iterator[str | None]:
    """The pieces of the query; None for each parameter."""
    at = 0
    while match := _TOKEN.match(query, at):
        at, token = match.end(), match[0]
        if match["comment"]:
            at = _end_of_comment(query, at)
            yield " "
        elif match["name"] == PARAMETER:
            yield None
        elif match["name"]:
            raise QueryRefused(f"{token} is not a parameter: there is :{PARAMETER}")
        elif match["end"]:
            raise QueryRefused("contains more than one statement: it must be one SELECT")
        elif match["open"]:
            raise QueryRefused(f"has a {token} that is not closed")
        else:
            yield token


def _end_of_comment(query: str, at: int) -> int:
    """Behind a comment, in which others may be nested."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(query, at):
        depth += 1 if match[0] == "/*" else -1
        if not depth:
            return match.end()
    raise QueryRefused("has a comment that is not closed")
