"""Detects a CSV file in another encoding than the flow's, as a spreadsheet or an editor may save it."""

import codecs
import re
from itertools import islice
from typing import Any

from attrs import asdict, evolve

from lume_local._flow.definition import RESERVED
from lume_local._flow.table_bounds import LOOKED_AT, HeaderSettings
from lume_local._worker.sources.files import is_utf8, is_utf8_beyond_ascii, is_utf8_name, recode
from lume_local._worker.sources.formats.names import NEW, spellings
from lume_local._worker.sources.formats.text.dialect import LINE_END
from lume_local._worker.sources.intake import AllMalformed, Reading
from lume_local._worker.sources.mending.lost_letters import NOT_UTF8
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import settings_of

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LINE_END = re.compile(LINE_END)
_HEADER = 64 * 1024
_LOOKED_AT = 1000
"""The number of invalid lines from which the encoding is guessed."""


def in_utf8(reading: Reading) -> Reading:
    """Return the reading of a file of text, or of its copy in UTF-8. Raises `SourceError`."""
    encoding = reading.flow["encoding"]
    if reading.flow["format"] in ("csv", "fixed"):
        _refuse_other_encoding(reading)
    if is_utf8_name(encoding):
        return reading
    if is_utf8_beyond_ascii(reading.path, reading.pause):
        reading.account.warn(  # all its bytes may be valid in the flow's encoding, too
            f"the source is valid UTF-8, but was read as {encoding}, so letters beyond ASCII are probably wrong: "
            f"set {reading.flow['format']}.encoding in {settings_of(reading.flow)}{NEW}"
        )
    copy = recode(reading.path, reading.shown, encoding, reading.folder / "recoded", reading.pause)
    return evolve(reading, path=copy)


def _refuse_other_encoding(reading: Reading) -> None:
    """Compare the first bytes with the flow's encoding. Raises `SourceError`."""
    wanted = reading.flow["encoding"]
    with reading.path.open("rb") as file:
        start = file.read(_HEADER)
    if name := mark_beside(start, wanted):
        raise SourceError.plain(
            f"{reading.shown} begins with the byte order mark of {name.upper()}, but {reading.flow['ref']} reads "
            f"{wanted}: save the file with the encoding {wanted} "
            f'(in Python: open(…, "w", encoding="{wanted}", newline="")), then submit it again'
        )
    if is_utf8_name(wanted) and _names_in_cp1252(start, reading.flow):
        # A header with one of Lume's columns is that of rejects, saved by a person.
        header = re.split(rb"[\r\n]", start, maxsplit=1)[0].lower()
        advice = _advice(reading.flow, is_resent=RESERVED.encode() in header)
        raise SourceError(f"the header of {reading.shown} is not valid UTF-8. It looks like cp1252: {advice}")


def mark_beside(start: bytes, wanted: str) -> str:
    """Return the encoding whose byte order mark a file begins with, if it is not the wanted one; else nothing."""
    codec = codecs.lookup(wanted).name
    for mark, name in MARKS.items():
        if start.startswith(mark) and not codec.startswith((name, "ascii" if name == "utf-8" else "utf-32")):
            return name
    return ""


def hint_of_encoding(
    flow: dict[str, Any], layout: str, malformed: AllMalformed, names: tuple[str, ...]
) -> str:
    """Return the likely encoding of lines that are not UTF-8, for the message of a run that fails because of them.

    Spreadsheets in the West save files that way. `names` are the header's, `layout` is that of the files, if any.
    """
    if (
        flow["format"] not in ("csv", "fixed")
        or not is_utf8_name(flow["encoding"])
        or NOT_UTF8 not in malformed.counts
    ):
        return ""
    of_layout = (one for one in malformed.rows() if one.layout == layout)
    lines = [one.raw for one in islice((one for one in of_layout if one.reason == NOT_UTF8), _LOOKED_AT)]
    if not lines or not all(map(_is_cp1252, lines)):
        return ""
    is_resent = any(name.lower().startswith(RESERVED) for name in names)
    return f". It looks like cp1252: {_advice(flow, is_resent=is_resent)}"


def _advice(flow: dict[str, Any], *, is_resent: bool) -> str:
    if is_resent:
        how = f"with the encoding {flow['encoding']}, which the flow reads, then submit them again"
        return f"save these corrected rejects {how}"
    where = f'set {flow["format"]}.encoding = "cp1252" in {settings_of(flow)}{NEW}'
    return f"{where}, or save the file as UTF-8, then run it again"


def _names_in_cp1252(start: bytes, flow: dict[str, Any]) -> bool:
    """Return whether the header isn't UTF-8, but in cp1252 names a column that the flow reads."""
    is_first = flow["header"] == asdict(HeaderSettings()) and not flow["comment"]
    lines = _LINE_END.split(start, LOOKED_AT)[: 1 if is_first else LOOKED_AT]
    shown = "".join(line.decode("cp1252").lower() for line in lines if not is_utf8(line) and _is_cp1252(line))
    names = (one for name in flow["sources"] for one in spellings(flow, name))
    return any(not name.isascii() and name.lower() in shown for name in names)


def _is_cp1252(data: bytes) -> bool:
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return True
