"""Whether a piece of a CSV file is well-formed, at several times the speed of its grammar. Pure.

Of well-formed records nothing but their structure is left, delimiters and line ends, once quoted fields and all
other bytes are taken away; and that structure is known. Quoted fields are taken away from left to right, each
only where it stands between a delimiter or line end and another one. So if no quote is left, none was anywhere
else, and every one was read as the grammar reads it.
"""

import re

from lume_local._worker.sources.dialect import Dialect


class Skeleton:
    """Counts the records of pieces of one file.

    Args:
        dialect: of the file.
        columns: how many fields a record must have.
        line_end: how every record must end; a lone `\\r` won't do.
    """

    def __init__(self, dialect: Dialect, columns: int, line_end: bytes) -> None:
        self._line_end, self._quote = line_end, dialect.quote
        self._record = dialect.delim * (columns - 1) + line_end
        structure = set(dialect.delim + dialect.quote + b"\r\n")
        self._others = bytes(byte for byte in range(256) if byte not in structure)
        if dialect.quote:
            quote, delim = re.escape(dialect.quote), re.escape(dialect.delim)
            # The quote first, what stands before it second: so that it is looked for as one byte.
            self._quoted = re.compile(
                b"%b(?<=[%b\\n]%b)%b(?=%b|%b)"
                % (quote, delim, quote, dialect.quoted_after_the_first, delim, line_end)
            )

    def count(self, data: bytes) -> int | None:
        """How many records this is, if all of it is well-formed; None where that takes a closer look.

        `data` begins where a record begins and ends with a line end.
        """
        bare = self._line_end + data
        if self._quote and self._quote in data:
            bare = self._quoted.sub(b"", bare)
        if self._line_end == b"\r\n" and not bare.count(b"\r\n") == bare.count(b"\r") == bare.count(b"\n"):
            return None  # two halves with something between them would become one line end
        bones = bare.translate(None, self._others)
        count, rest = divmod(len(bones) - len(self._line_end), len(self._record))
        return count if not rest and bones == self._line_end + self._record * count else None
