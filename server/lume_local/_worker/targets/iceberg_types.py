"""Maps a flow's types and partitions to Iceberg's. Pure."""

import re

from lume_local._flow.definition import INTEGERS, quoted

_BEST = {
    "UINTEGER": "long",
    "BIGINT": "long",
    "UBIGINT": "decimal(20, 0)",
    "HUGEINT": "decimal(38, 0)",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR": "string",
    "JSON": "string",
    "JSONB": "string",
    "UUID": "uuid",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
}
_DIGITS = {"int": 10, "long": 19}
_WIDER = {("int", "long"), ("float", "double"), ("uuid", "string")}


class IcebergTypes:
    """See `Types`. Types are spelled as by pyiceberg."""

    has_partial = False

    def spelled(self, table: str) -> str:
        """Return the quoted name, with its namespace."""
        return ".".join(map(quoted, table.split(".")))

    def best(self, sql_type: str) -> str:
        """Return the type that holds all values; unsigned numbers of 64 bits and larger ones need a decimal."""
        if sql_type.startswith("DECIMAL("):
            return sql_type.lower().replace(",", ", ").replace(",  ", ", ")
        return _BEST.get(sql_type) or ("int" if sql_type in INTEGERS else sql_type)

    def fits(self, given: str, sql_type: str) -> bool:
        """Return whether the column is of the best type, or of one that Iceberg itself would promote it to."""
        best = self.best(sql_type)
        if best == given or (best, given) in _WIDER:
            return True
        room, needed = _decimal(given), _decimal(best) or (_DIGITS.get(best, 99), 0)
        return room is not None and room[1] >= needed[1] and room[0] - room[1] >= needed[0] - needed[1]


def _decimal(kind: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"decimal\((\d+), (\d+)\)", kind)
    return (int(match[1]), int(match[2])) if match else None
