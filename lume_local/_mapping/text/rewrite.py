"""Expressions of a flow over another name for their source column. Pure."""

import re
from collections.abc import Mapping
from itertools import pairwise

from lume_local._flow.definition import quoted

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")+\"|\w+|.", re.DOTALL)


def over_value(sql: str, mark: str = "\0") -> str:
    """The expression with a mark in place of `value`, or of the only column that it reads by a quoted name."""
    tokens = _TOKEN.findall(sql)
    names = {token for token in tokens if token.startswith('"')}
    if any(token.lower() == "value" for token in tokens) or len(names) != 1:
        names = set()
    return "".join(mark if token.lower() == "value" or token in names else token for token in tokens)


def names_in(sql: str) -> list[str]:
    """The names in double quotes, each once."""
    found = (token[1:-1].replace('""', '"') for token in _TOKEN.findall(sql) if token.startswith('"'))
    return list(dict.fromkeys(found))


def reads_value(sql: str) -> bool:
    return any(token.lower() == "value" for token in _TOKEN.findall(sql))


def calls(sql: str, function: str) -> bool:
    """Whether an expression calls a function."""
    tokens = [token for token in _TOKEN.findall(sql) if not token.isspace()]
    return any(one.lower() == function and other == "(" for one, other in pairwise(tokens))


def renamed(sql: str, names: Mapping[str, str]) -> str:
    """The expression with other names for some source columns that it reads."""
    spelled = {quoted(old): quoted(new) for old, new in names.items()}
    tokens: list[str] = _TOKEN.findall(sql)
    return "".join(spelled.get(token, token) for token in tokens)
