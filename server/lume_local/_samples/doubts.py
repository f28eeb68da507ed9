"""What to check in a sample that is readable, but may have been misread. Pure."""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from lume_async._base.words import counted, listed
from lume_local._samples.infer import DELIMITERS
from lume_local._samples.opening import SampleRows

_MOST = 0.7
"""Share of rows that must have a width for it to be the file's."""
_CONTROL = re.compile("[\x80-\x9f]")
"""The control characters of Latin-1; most of them are letters and signs in cp1252."""


def doubts(names: Sequence[str], rows: Sequence[Sequence[str]], delim: str) -> list[str]:
    """Return what to check in the first lines of a CSV file."""
    asked = [_one_column(names, rows, delim), _other_width(names, rows)]
    if 2 * sum(not name.strip() for name in names) >= len(names):
        asked.append(
            "most cells of the first line are empty: if the first line is a title, delete the lines above the header"
        )
    return [doubt for doubt in asked if doubt]


def of_names(header: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield columns that the header leaves unnamed or names twice. `names` are the resulting names."""
    called: dict[str, list[str]] = {}
    for cell, name in zip(header, names, strict=True):
        called.setdefault(cell.lower(), []).append(name)
    for cell, shown in called.items():
        if not cell and shown:
            yield f"{counted(len(shown), 'cell')} of the header without a name: called {listed(shown, 5, str)}"
        elif len(shown) > 1:
            yield f"the header names {cell!r} {len(shown)} times: called {listed(shown, 5, str)}"


def of_malformed(found: SampleRows) -> Iterator[str]:
    """Yield the malformed lines, which a run rejects."""
    if found.malformed:
        reasons = ", ".join(
            f"{reason.removeprefix('malformed line: ')}: {count:,}"
            for reason, count in found.malformed.items()
        )
        total = sum(found.malformed.values())
        at = ", ".join(f"{line:,}" for line in found.malformed_lines)
        yield f"a run rejects {counted(total, 'line')} of the sample ({reasons}): see line {at}" + (
            ", …" if total > len(found.malformed_lines) else ""
        )


def _one_column(names: Sequence[str], rows: Sequence[Sequence[str]], delim: str) -> str:
    """Check a header of one column: it contains a possible delimiter, or the lines below have another one."""
    if len(names) != 1:
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


def trailing_delimiter(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the rows end with a delimiter and the header does not."""
    width, share = _usual([len(row) for row in rows if row])
    is_wider = len(names) > 1 and width == len(names) + 1 and share >= _MOST
    return is_wider and not any(row[-1] for row in rows if len(row) == width)


def _other_width(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Check whether most rows of a CSV file are not as wide as its header, so that a run would reject them."""
    width, share = _usual([len(row) for row in rows if row])
    if len(names) == 1 or width == len(names) or share < _MOST:
        return ""
    ends = trailing_delimiter(names, rows)
    advice = "the lines below end with a delimiter: end the header with one" if ends else "correct the header"
    return (
        f"the header has {counted(len(names), 'column')}, but most rows have {width}, and a run rejects "
        f"those as malformed: {advice}"
    )


def controls(rows: Iterable[Sequence[str]], encoding: str) -> list[str]:
    """Return a warning if Latin-1 makes control characters of text in cp1252, such as the euro sign."""
    if codecs.lookup(encoding).name not in ("iso8859-1", "iso8859-15"):
        return []
    value = next((value for row in rows for value in row if _CONTROL.search(value)), "")
    try:
        western = value.encode(encoding).decode("cp1252")
    except UnicodeDecodeError:
        return []
    warning = f"in {encoding} a value is {value!r}, in cp1252 it is {western!r}: pass --encoding cp1252"
    return [warning] if value else []


def _usual(widths: Sequence[int]) -> tuple[int, float]:
    """Return the most frequent width and its share."""
    ((width, count),) = Counter(widths).most_common(1) or [(0, 0)]
    return width, count / max(len(widths), 1)
