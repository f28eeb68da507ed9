"""CSV rejects of objects that are sent again: each row becomes an object, and all are read as their source was."""

import orjson
from attrs import evolve

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.formats.names import column_trouble
from lume_local._worker.sources.formats.ndjson import read_ndjson
from lume_local._worker.sources.formats.strict_json import NotARow, strict_line
from lume_local._worker.sources.formats.text.csv import names_of, split_records
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import Account, Reading
from lume_local._worker.sources.mending.resent import FILLED_IN, RAW
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout


def read_resent_objects(reading: Reading) -> Layout:
    """Make objects of the rows, then judge those. Raises `SourceError`."""
    flow, dialect = reading.flow, Dialect.of(reading.flow["csv"])
    names = names_of(reading, dialect)
    for name, place in flow["sources"].items():
        if names.count(name) > 1:
            found = [n for n, one in enumerate(names) if one == name]
            raise SourceError(column_trouble(flow, reading.shown, name, place, names, found))
    objects = ResentObjects(names, dialect)
    lines = split_records(reading, dialect, objects, copied=True).copy.path
    counted, folder = Account(0), reading.folder / "objects"
    folder.mkdir()
    rows = reading.account.records - reading.malformed.total
    layout = read_ndjson(
        evolve(
            reading,
            path=lines,
            account=counted,
            flow=flow | {"max_line_bytes": max(flow["max_line_bytes"], objects.longest)},
            folder=folder,
        )
    )
    if counted.records != rows:
        raise SourceError(
            f"{reading.shown} has {rows:,} rows, but {counted.records:,} objects were made of them"
        )
    return layout


class ResentObjects:
    """Makes a line of NDJSON of a record. See `Rewriter`.

    A flow sees every value as a text or NULL. So the object has texts: to the flow they are what numbers, booleans
    and objects would be. What is empty and not quoted is NULL.
    """

    def __init__(self, names: list[str], dialect: Dialect) -> None:
        self._dialect = dialect
        self._raw_at = next((n for n, name in enumerate(names) if name.lower() == RAW), None)
        self._members = [(n, name) for n, name in enumerate(names) if not name.lower().startswith(RESERVED)]
        self.record = dialect.record(len(names))
        self.longest = 0
        """Bytes of the longest line."""

    def rewrite(self, record: bytes) -> tuple[str, bytes]:
        """Nothing and the line, or the reason and the text of what is still not an object."""
        fields = self._dialect.split(record)
        raw = b"" if self._raw_at is None else self._dialect.value(fields[self._raw_at])
        values = {
            name: self._dialect.value(fields[n]).decode() if fields[n] else None for n, name in self._members
        }
        if not raw:
            return self._line(orjson.dumps(values))
        # In a corrected object, line ends can only be between its parts.
        line = raw.replace(b"\r", b" ").replace(b"\n", b" ")
        try:
            strict_line(line.decode())
        except NotARow as error:
            return error.why + (FILLED_IN if any(values.values()) else ""), raw
        return self._line(line)

    def _line(self, line: bytes) -> tuple[str, bytes]:
        self.longest = max(self.longest, len(line))
        return "", line
