"""Corrected rejects of a CSV source as saved by a person: with another delimiter, or in UTF-8.

They are recognized by their columns. Their malformed lines stay in the dialect of the source.
"""

import codecs
import re

from attrs import evolve

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.files import is_utf8_beyond_ascii, is_utf8_name
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.mending.resent import OF_REJECTS

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_START = 64 * 1024
_DELIMS = (",", ";", "\t", "|")
_AS_SAVED = {"quote": '"', "escape": ""}
"""The quoting of spreadsheets."""


def as_saved(reading: Reading) -> Reading:
    """Return the reading of a CSV source; corrected rejects are read in the form in which they were saved.

    The flow then has `lines`, the dialect of malformed lines, and `is_named`, whether it names the source's columns
    itself.
    """
    flow = reading.flow
    with reading.path.open("rb") as file:
        start = file.read(_START)
    mark = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    encoding = mark or flow["encoding"]
    header = _header(start, encoding)
    if RESERVED not in header and RESERVED.encode() in re.split(rb"[\r\n]", start, maxsplit=1)[0]:
        encoding = "utf-8"  # the flow's encoding has other bytes for ASCII
        header = _header(start, encoding)
    if RESERVED not in header:
        return reading
    if mark is None and not is_utf8_name(encoding) and is_utf8_beyond_ascii(reading.path, reading.pause):
        encoding = "utf-8"
    csv = flow["csv"]
    delim = delim_of(header, csv["delim"])
    saved = csv if delim == csv["delim"] else {"delim": delim, **_AS_SAVED}
    return evolve(
        reading,
        flow=flow
        | {"csv": saved, "encoding": encoding, "lines": csv, "is_named": bool(flow["header"]["names"])}
        | OF_REJECTS,
    )


def _header(start: bytes, encoding: str) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
    except UnicodeError:  # a byte order mark is missing
        return ""
    return re.split(r"[\r\n]", text, maxsplit=1)[0].lower()


def delim_of(header: str, own: str) -> str:
    """Return the delimiter of a lower-case header: the one beside a column of Lume's; `own` is the flow's."""
    column = rf"\"?{RESERVED}\w+\"?"
    marks = ((delim, re.escape(delim)) for delim in (own, *_DELIMS))
    return next((delim for delim, mark in marks if re.search(f"{column}{mark}|{mark}{column}", header)), own)
