"""Rewrites a flow's expressions for another name of their source column. Pure."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate, pairwise

from lume_local._flow.definition import Column, quoted
from lume_local._flow.table_bounds import folded

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")+\"|\w+|.", re.DOTALL)

_RESERVED = frozenset(
    (
        *("and", "as", "between", "case", "else", "end", "false", "from"),
        *("in", "is", "like", "not", "null", "or", "then", "true", "when"),
    )
)


def over_value(sql: str, mark: str = "\0") -> str:
    """Return the expression with a mark for `value`, or for the only column that it reads."""
    tokens = _TOKEN.findall(sql)
    marked = {n for n, token in enumerate(tokens) if token.lower() == "value"}
    if not marked and len(names_in(sql)) == 1:
        marked = _quoted_in(tokens) or _words_in(tokens)
    return "".join(mark if n in marked else token for n, token in enumerate(tokens))


def names_in(sql: str) -> list[str]:
    """Return the names in double quotes, each once; without any, the words that may name a column."""
    tokens = _TOKEN.findall(sql)
    found = [tokens[n][1:-1].replace('""', '"') for n in sorted(_quoted_in(tokens))]
    return list(dict.fromkeys(found or [one for one in words_in(sql) if one.lower() != "value"]))


def words_in(sql: str) -> list[str]:
    """Return the words that may name a column without quotes: not keywords of SQL, functions, or types."""
    tokens = _TOKEN.findall(sql)
    return [tokens[n] for n in sorted(_words_in(tokens))]


def spelled_in(sql: str) -> set[str]:
    """Return all names that may be of columns, with or without quotes, in lower case."""
    return {one.lower() for one in (*names_in(sql), *words_in(sql))}


def _quoted_in(tokens: Sequence[str]) -> set[int]:
    return {n for n, token in enumerate(tokens) if token.startswith('"')}


def _words_in(tokens: Sequence[str]) -> set[int]:
    solid = [-1, *(n for n, token in enumerate(tokens) if not token.isspace()), -1]
    text = [*tokens, ""]  # neighbours for the first and the last one
    return {
        n
        for before, n, after in zip(solid, solid[1:], solid[2:], strict=False)
        if text[n].isidentifier() and text[n].lower() not in _RESERVED
        if text[before].lower() not in ("as", ":") and not text[after].startswith(("(", "'"))
    }


def is_null(sql: str) -> bool:
    """Return whether it is the constant for a column without a source."""
    return sql.strip().upper() == "NULL"


def reads_value(sql: str) -> bool:
    return any(token.lower() == "value" for token in _TOKEN.findall(sql))


def reads_source(column: Column, source: str) -> bool:
    """Return whether a column of the flow reads this column of the source, whose case is ignored."""
    return source.lower() in spelled_in(column.sql) or is_alias(column, source)


def is_alias(column: Column, source: str) -> bool:
    return column.aliases is not None and folded(source) in map(folded, column.aliases.names)


def wrapped(sql: str, names: Collection[str], wrap: Callable[[str], str]) -> str:
    """Return the expression with each use of some columns, named in lower case, replaced by an expression over it."""
    tokens: list[str] = _TOKEN.findall(sql)
    for n in _quoted_in(tokens) | _words_in(tokens):
        if tokens[n].removeprefix('"').removesuffix('"').replace('""', '"').lower() in names:
            tokens[n] = wrap(tokens[n])
    return "".join(tokens)


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def compared(sql: str) -> set[str]:
    """Return the texts after WHEN: the values that a lookup within the expression knows."""
    tokens = [token for token in _TOKEN.findall(sql) if not token.isspace()]
    texts = [other for one, other in pairwise(tokens) if one.lower() == "when" and other.startswith("'")]
    return {text[1:-1].replace("''", "'") for text in texts}


def calls(sql: str, function: str) -> bool:
    tokens = [token for token in _TOKEN.findall(sql) if not token.isspace()]
    return any(one.lower() == function and other == "(" for one, other in pairwise(tokens))


def last_text(sql: str, function: str) -> tuple[str, str, str] | None:
    """Split an expression around a text that is the last of several arguments in the only call of a function.

    None if there is no such call.
    """
    tokens = _TOKEN.findall(sql)
    solid = [n for n, token in enumerate(tokens) if not token.isspace()]
    words = [tokens[n] for n in solid]
    begins = [n for n, two in enumerate(pairwise(words)) if (two[0].lower(), two[1]) == (function, "(")]
    depth = 0
    for n in range(begins[0] + 1, len(words)) if len(begins) == 1 else ():
        depth += (words[n] == "(") - (words[n] == ")")
        if depth == 0:
            is_text = words[n - 2] == "," and words[n - 1].startswith("'")
            before, behind = "".join(tokens[: solid[n - 2]]), "".join(tokens[solid[n] :])
            return (before, words[n - 1][1:-1], behind) if is_text else None
    return None


def is_whole(sql: str) -> bool:
    """Return whether each parenthesis has its counterpart within the expression."""
    depths: list[int] = [0, *accumulate((one == "(") - (one == ")") for one in _TOKEN.findall(sql))]
    return min(depths) >= 0 == depths[-1]


def renamed(sql: str, names: Mapping[str, str]) -> str:
    """Return the expression with some source columns renamed."""
    spelled = {quoted(old): quoted(new) for old, new in names.items()}
    tokens: list[str] = _TOKEN.findall(sql)
    return "".join(spelled.get(token, token) for token in tokens)
