"""Shortens DuckDB's message about an expression to one line, with the likely correction. Pure."""

import difflib
import re

import duckdb

from lume_local._flow.cleaners import CLEANERS

_UNKNOWN = re.compile(r"Function with name \"?(\w+)\"? does not exist")
_MINUS = "'-(VARCHAR, VARCHAR)'"
_DOT = re.compile(r"Cannot extract field '([^']+)' from expression \"([^\"]+)\"")
_NEAR = re.compile(r'syntax error at or near "(\w+)"')
_QUOTED = re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'")
_WITH_MINUS = re.compile(r"[^\W\d]\w*(?:-\w+)+")
_WORDS = frozenset(
    {
        *(
            "and",
            "as",
            "between",
            "case",
            "collate",
            "else",
            "end",
            "from",
            "ilike",
            "in",
            "is",
            "like",
            "not",
        ),
        *("null", "or", "select", "then", "when"),
    }
)


def first_line(error: duckdb.Error) -> str:
    """Return DuckDB's message without its excerpt of the (wrapped) statement and its list of overloads."""
    return re.split(r"\n\n|\n\s*Candidate ", str(error), maxsplit=1)[0].replace("\n", " ").strip()


def explained(sql: str, said: str) -> str:
    """Return a message about an expression, with the correction if it can be guessed."""
    if found := _UNKNOWN.search(said):
        near = difflib.get_close_matches(found[1].lower(), CLEANERS, 1, 0.6)
        return f'{found[1]} is not a function; did you mean the cleaner "{near[0]}"?' if near else said
    name = _unquoted(_QUOTED.sub("''", sql), said)
    return f'{said}: names with spaces or signs need double quotes: "{name}"' if name else said


def _unquoted(sql: str, said: str) -> str | None:
    if _MINUS in said and (found := _WITH_MINUS.search(sql)):
        return found[0]
    if found := _DOT.search(said):
        return f"{found[2]}.{found[1]}"
    if near := _NEAR.search(said):
        pair = re.search(rf"([^\W\d]\w*) +{re.escape(near[1])}\b", sql)
        if pair and not {pair[1].lower(), near[1].lower()} & _WORDS:
            return pair[0]
    return None
