"""The file of rejects: in the format of its source, it can be corrected and submitted again.

It then has the source's dialect and encoding, and the original bytes of unreadable records.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import json
from pathlib import Path
from typing import Any

from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._worker.sources.files import encode_back, is_utf8_name
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.mending.lost_letters import KEPT
from lume_local._worker.sources.several_files import AllMalformed
from lume_local._worker.sql import copy_to, text
from lume_local._worker.statements import Statements


@frozen
class Rejects:
    """Writes the rejects of one run.

    Attributes:
        duplicates: whether the table `_lume_duplicates` exists.
    """

    connection: DuckDBPyConnection
    flow: dict[str, Any]
    statements: Statements
    malformed: AllMalformed
    staged: str
    duplicates: bool

    def write(self, target: Path) -> int:
        """Write the rows in the order of the source, then the malformed lines; return their number."""
        kind = (self.flow["format"], target.suffix)
        if kind == ("csv", ".csv"):
            return self._csv(target)
        if self.statements.layout.json_lines and target.suffix == ".ndjson":
            return self._ndjson(target)
        return copy_to(self.connection, self._rows_and_lines(), target)

    def _csv(self, target: Path) -> int:
        """Write the rejects in the source's dialect and encoding."""
        dialect, encoding = Dialect.of(self.flow["csv"]), self.flow["encoding"]
        plain = is_utf8_name(encoding)
        written = target if plain else target.with_suffix(".utf8")
        rows = self.statements.rejects(self.staged, self.duplicates)
        if not dialect.quote:
            bad = f"{text(dialect.delim.decode())} || e'\\r\\n'"
            kept = [f"translate({name}, {bad}, '   ') AS {name}" for name in self._own_texts]
            rows = f"SELECT * REPLACE ({', '.join(kept)}) FROM ({rows})"
        options = (
            f"FORMAT csv, HEADER true, DELIM {text(dialect.delim.decode())}, QUOTE {text(dialect.quote.decode())}, "
            f"ESCAPE {text(dialect.escape.decode())}"
        )
        if dialect.escape != dialect.quote:
            options += ", FORCE_QUOTE *"  # other readers honour an escape character outside quotes, too
        count = copy_to(self.connection, rows, written, options)
        between = dialect.delim * (1 + sum(1 for _ in self.statements.raw_labels()))
        with written.open("ab") as file:
            for shown, line, reason, raw in self.malformed.rows():
                own = [reason.encode(), shown.encode()][: len(self._own_texts)]
                if not dialect.quote:
                    own = [value.replace(dialect.delim, b" ") for value in own]
                start = dialect.delim.join([b"", str(line).encode(), *map(dialect.as_field, own)])
                file.writelines((start, between, dialect.as_field(raw), b"\n"))
        if not plain:
            encode_back(written, encoding, target)
        return count + self.malformed.total

    @property
    def _own_texts(self) -> list[str]:
        """Lume's own text columns, which precede the source's."""
        return ["_lume_reasons", "_lume_file"] if self.statements.layout.of_files else ["_lume_reasons"]

    def _ndjson(self, target: Path) -> int:
        """Write the original objects, with the reasons as their first members."""
        rest = "ltrim(_lume_line_text, e' \\t')"
        reasons = f"to_json({self.statements.reasons(self.duplicates)})::VARCHAR"
        of_files = self.statements.layout.of_files
        if of_files:
            reasons += " || ',\"_lume_file\":' || to_json(_lume_file)::VARCHAR"
        line = (
            f"'{{\"_lume_row\":' || (file_row_number + 1) || ',\"_lume_reasons\":' || {reasons} || "
            f"CASE WHEN regexp_full_match({rest}, '\\{{\\s*\\}}\\s*') THEN '}}' ELSE ',' || substr({rest}, 2) END"
        )
        rows = f"SELECT {line} AS line FROM {self.statements.rejected(self.staged, self.duplicates)}"
        options = "FORMAT csv, HEADER false, DELIM '\x01', QUOTE '', ESCAPE ''"
        count = copy_to(self.connection, rows, target, options)
        with target.open("ab") as file:
            for shown, number, reason, raw in self.malformed.rows():
                entry = {
                    "_lume_line": number,
                    "_lume_reasons": reason,
                    **({"_lume_file": shown} if of_files else {}),
                    "_lume_raw": raw.decode("utf-8", KEPT),
                }
                written = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
                file.write(written.encode("utf-8", KEPT) + b"\n")
        return count + self.malformed.total

    def _rows_and_lines(self) -> str:
        rows = self.statements.rejects(self.staged, self.duplicates)
        if self.statements.layout.json_lines:
            # When resubmitted, an object in `_lume_raw` would be read instead of the corrected columns.
            is_raw = "* EXCLUDE (_lume_raw), _lume_raw AS _lume_object, NULL::VARCHAR AS _lume_raw"
            rows = f"SELECT {is_raw} FROM ({rows})"
        if not self.malformed.counts:
            return rows
        nothing = [f"NULL::VARCHAR AS {quoted(label)}" for _, label in self.statements.raw_labels()]
        own = ["line", "reasons", *(["file"] if self.statements.layout.of_files else [])]
        if self.statements.layout.json_lines:
            nothing.append("NULL::VARCHAR AS _lume_object")
        items = ["NULL::BIGINT", *own, *nothing, "line_text"]
        return f"({rows}) UNION ALL (SELECT {', '.join(items)} FROM ({self.malformed.reader()}))"
