"""Whether a CSV file is in another encoding than its flow says, as one that a spreadsheet or an editor has saved."""

import codecs
import re

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.files import blocks
from lume_local._worker.sources.reading import Reading
from lume_local._worker.sources.source import SourceError

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_WESTERN = {"iso8859-1", "iso8859-15", "cp1252"}
"""In these, text with letters beyond ASCII that happens to be UTF-8 is not text: `Ã¼`. In others it may be."""
_HEADER = 64 * 1024


def refuse_other_encoding(reading: Reading) -> None:
    """Compare the first bytes with the flow's encoding; of mended rejects all bytes. Raises `SourceError`."""
    wanted = reading.flow["encoding"]
    codec = codecs.lookup(wanted).name
    with reading.path.open("rb") as file:
        start = file.read(_HEADER)
    for mark, name in _MARKS.items():
        if start.startswith(mark) and not codec.startswith((name, "ascii" if name == "utf-8" else "utf-32")):
            raise _trouble(reading, f"begins with the byte order mark of {name.upper()}", wanted)
    if codec in _WESTERN and _has_rejects(start) and _is_utf8(reading):
        raise _trouble(reading, "is UTF-8", wanted)


def _trouble(reading: Reading, what: str, wanted: str) -> SourceError:
    return SourceError(
        f"{reading.shown} {what}, but {reading.flow['ref']} reads {wanted}: save the file with the encoding {wanted} "
        f'(in Python: open(…, "w", encoding="{wanted}", newline="")), then submit it again'
    )


def _has_rejects(start: bytes) -> bool:
    """Whether its header has a column of ours: then a person has saved it."""
    return RESERVED.encode() in re.split(rb"[\r\n]", start, maxsplit=1)[0].lower()


def _is_utf8(reading: Reading) -> bool:
    """Whether all of it is UTF-8 and not only ASCII; a Western file is known to be none at its first letter."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    beyond = False
    try:
        for block in blocks(reading.path, reading.pause):
            decoder.decode(block)
            beyond = beyond or not block.isascii()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return beyond
