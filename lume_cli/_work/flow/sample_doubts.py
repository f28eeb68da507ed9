"""What to check in a sample that can be read, but may not be what it seems. Pure."""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Sequence

from lume_cli._output.text import counted
from lume_cli._work.flow.flow_infer import DELIMITERS

_MOST = 0.7
"""The share of rows that must have a width for it to be the file's."""
_CONTROL = re.compile("[\x80-\x9f]")


def doubts(names: Sequence[str], rows: Sequence[Sequence[str]], delim: str, encoding: str) -> list[str]:
    """What to check; `delim` and `encoding` are those of a CSV file."""
    asked = (
        _one_column(names, rows, delim),
        _other_width(names, rows, delim),
        _controls([names, *rows], encoding) if encoding else "",
    )
    return [doubt for doubt in asked if doubt]


def _one_column(names: Sequence[str], rows: Sequence[Sequence[str]], delim: str) -> str:
    """A header of one column: it contains a possible delimiter, or the lines below have another one."""
    if not delim or len(names) != 1:
        return ""
    if marks := [mark for mark in DELIMITERS if mark in names[0]]:
        shown = " or ".join(json.dumps(mark) for mark in marks)
        return f"the header is one column, {names[0]!r}: if its delimiter is {shown}, pass --delim"
    lines = [delim.join(row) for row in rows if any(row)]
    usual = [(*_usual([len(row) for row in csv.reader(lines, delimiter=mark)]), mark) for mark in DELIMITERS]
    width, _, mark = max((one for one in usual if one[1] >= _MOST), default=(1, 1.0, ""))
    if width == 1:
        return ""
    return (
        f"the first line is one column, {names[0]!r}, but most lines are {width} with the delimiter "
        f"{json.dumps(mark)}: if it is a title, delete the lines above the header"
    )


def _other_width(names: Sequence[str], rows: Sequence[Sequence[str]], delim: str) -> str:
    """Most rows of a CSV file are not as wide as its header, so that a run would reject them."""
    widths = [len(row) for row in rows if row]
    width, share = _usual(widths)
    if not delim or len(names) == 1 or width == len(names) or share < _MOST:
        return ""
    ends = width == len(names) + 1 and not any(row[-1] for row in rows if len(row) == width)
    advice = "the lines below end with a delimiter: end the header with one" if ends else "correct the header"
    return (
        f"the header has {counted(len(names), 'column')}, but most rows have {width}, and a run rejects "
        f"those as malformed: {advice}"
    )


def _controls(rows: Sequence[Sequence[str]], encoding: str) -> str:
    """Text in cp1252 that would be control characters in Latin-1, such as the euro sign."""
    if codecs.lookup(encoding).name not in ("iso8859-1", "iso8859-15"):
        return ""
    value = next((value for row in rows for value in row if _CONTROL.search(value)), "")
    try:
        return value and (
            f"in {encoding} a value is {value!r}, in cp1252 it is {value.encode(encoding).decode('cp1252')!r}: "
            "pass --encoding cp1252"
        )
    except UnicodeDecodeError:
        return ""


def _usual(widths: Sequence[int]) -> tuple[int, float]:
    """The width that most rows have, and their share."""
    ((width, count),) = Counter(widths).most_common(1) or [(0, 0)]
    return width, count / max(len(widths), 1)
