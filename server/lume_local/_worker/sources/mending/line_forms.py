"""The form in which the malformed lines of each file are read; a run records it, as the lines may return. Pure.

`_lume_raw` has the original line of its file, whose columns may be in another order than the rejects', and whose
dialect may differ from that of the version that reads it later.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen

from lume_async._base.elided import elided
from lume_local._flow.definition import RESERVED

_MARKS = ("delim", "quote", "escape")


@frozen
class LineForm:
    """The fields of a line.

    Attributes:
        at: the column number of each field; None if no column has it.
        csv: the delimiter, quote and escape; None for columns of fixed widths.
        encoding: the file's.
    """

    at: tuple[int | None, ...]
    csv: tuple[str, str, str] | None
    encoding: str

    @classmethod
    def of(cls, at: Iterable[int | None], flow: dict[str, Any]) -> "LineForm":
        """Return the form of lines as a compiled flow reads them."""
        csv = flow["csv"]
        marks = None if flow["fixed"] else (csv["delim"], csv["quote"], csv["escape"])
        return cls(tuple(at), marks, flow["encoding"])

    @classmethod
    def read(cls, plain: dict[str, Any]) -> "LineForm":
        """Convert a form from JSON."""
        csv = plain["csv"]
        return cls(tuple(plain["at"]), csv and tuple(csv), plain["encoding"])

    def placed(self, places: Sequence[int]) -> "LineForm":
        """Return the same form in other columns; `places` has the new number of each."""
        return LineForm(tuple(None if n is None else places[n] for n in self.at), self.csv, self.encoding)


def recorded(forms: Iterable[tuple[str, LineForm | None]], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the forms for the record of a run, by the columns of its rejects.

    Args:
        forms: the form of each file; None if unknown.
        labels: the name of each column in the rejects, by its name in the engine.
    """
    files: dict[LineForm | None, dict[str, None]] = {}
    for file, form in forms:
        files.setdefault(form, {})[_kept(file)] = None
    entries = list[dict[str, Any]]()
    for form, of in files.items():
        entry: dict[str, Any] = {"header": None}
        if form is not None:
            columns = (labels.get(f"{RESERVED}s{n}") for n in form.at)
            entry["header"] = [None if one is None else _kept(one) for one in columns]
            if form.csv is not None:
                entry["csv"] = dict(zip(_MARKS, map(_kept, form.csv), strict=True))
            entry["encoding"] = form.encoding
        if any(of):
            entry["files"] = [*of]
        entries.append(entry)
    return entries


def entry_of(lines: Sequence[dict[str, Any]], file: str) -> dict[str, Any] | None:
    """Return the entry of a file in the record of a run; None if its form is unknown."""
    found = list(lines)
    if len(found) > 1:
        found = [one for one in lines if _has(one, file)]
    return found[0] if len(found) == 1 and found[0]["header"] is not None else None


def _has(entry: dict[str, Any], file: str) -> bool:
    """Return whether an entry has the file, whose name has no delimiters in rejects without quotes."""
    csv = entry.get("csv")
    apart = "" if csv is None or csv["quote"] else _read(csv["delim"]) + "\r\n"
    as_spaces = dict.fromkeys(map(ord, apart), " ")
    return file.translate(as_spaces) in (_read(one).translate(as_spaces) for one in entry.get("files", [""]))


def form_of(entry: dict[str, Any], names: Sequence[str]) -> LineForm | None:
    """Return the form of an entry in columns of these names; None if one is missing."""
    at = {name.lower(): n for n, name in enumerate(names)} | {name: n for n, name in enumerate(names)}
    wanted = [None if one is None else _read(one) for one in entry["header"]]
    found = [None if one is None else at.get(one, at.get(one.lower())) for one in wanted]
    if any(n is None and one is not None for n, one in zip(found, wanted, strict=True)):
        return None
    csv = entry.get("csv")
    marks = None if csv is None else (_read(csv["delim"]), _read(csv["quote"]), _read(csv["escape"]))
    return LineForm(tuple(found), marks, entry["encoding"])


def form_cell(entry: dict[str, Any] | None) -> str:
    return json.dumps(entry)


def form_in_cell(cell: str, names: Sequence[str]) -> LineForm | None:
    """Return the form of such an entry in columns of these names; None if it is unknown, or a column is missing."""
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return form_of(json.loads(cell), names)
    return None


def _kept(text: str) -> str:
    """Return a string that the record of a run can keep, although it shortens strings by `elided`; see `_read`."""
    return json.dumps(text) if elided(text) != text or (text.startswith('"') and len(text) > 1) else text


def _read(text: str) -> str:
    if text.startswith('"') and len(text) > 1:
        with suppress(ValueError):
            return str(json.loads(text))
    return text
