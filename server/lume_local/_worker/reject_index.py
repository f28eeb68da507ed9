"""The rejects of a run by reason: sets of rows for the server's ledger.

Rejects are numbered as they are written: the rows in the order of the source, then the malformed lines.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from pathlib import Path
from typing import Any

from lume_local._shared.row_set import all_rows, as_text, placed, row_set
from lume_local._worker.outputs.row_json import Reasons
from lume_local._worker.rejects import Rejects
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.several_files import AllMalformed
from lume_local._worker.sql import row_of
from lume_local._worker.statements import rejects_as_bits


def reasons_of(rejects: Rejects, metrics: dict[str, Any]) -> dict[str, str | None]:
    """Return the rejects with each reason, as text; None if all have it."""
    names = list(metrics["reject_reasons"])
    if len(names) < 2:
        return dict.fromkeys(names)
    return {name: as_text(rows) for name, rows in _sets(rejects, metrics).items()}


def records_of(rejects: Rejects, metrics: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the records of a replay with each reason, numbered from 0.

    Besides `reasons`, `rejected` has all rejected records, and `malformed` the malformed lines among them.

    Args:
        path: the file with the records.
    """
    lines = malformed_records(rejects.flow, path, rejects.malformed)
    malformed = row_set(lines, metrics["rows_read"])
    well_formed = all_rows(metrics["rows_read"]) & ~malformed
    judged = metrics["rows_rejected"] - len(lines)
    rejected = placed(_rejected_rows(rejects, well_formed.bit_count()) if judged else 0, well_formed)
    reasons = {
        name: as_text(placed(rows & all_rows(judged), rejected) | placed(rows >> judged, malformed))
        for name, rows in _sets(rejects, metrics).items()
    }
    return {"reasons": reasons, "rejected": as_text(rejected | malformed), "malformed": as_text(malformed)}


def malformed_records(flow: dict[str, Any], path: Path, malformed: AllMalformed) -> list[int]:
    """Return the numbers of a replay's malformed records, in order."""
    return _record_numbers(flow, path, sorted(line for _, line, _, _ in malformed.rows()))


def _sets(rejects: Rejects, metrics: dict[str, Any]) -> dict[str, int]:
    """Return the rejects with each reason."""
    names, total = list(metrics["reject_reasons"]), metrics["rows_rejected"]
    judged = total - rejects.malformed.total
    found = dict.fromkeys(names, 0)
    if judged:
        found |= _of_checks(rejects, names, judged)
    flags: dict[str, list[int]] = {}
    for number, (_, _, reason, _) in enumerate(rejects.malformed.rows(), judged):
        flags.setdefault(reason, []).append(number)
    for reason, numbers in flags.items():
        found[reason] = found.get(reason, 0) | row_set(numbers, total)
    return found


def _of_checks(rejects: Rejects, names: list[str], judged: int) -> dict[str, int]:
    """Return the well-formed rows with each reason."""
    statements, duplicates = rejects.statements, rejects.duplicates
    conditions = {
        name: condition
        for name, condition in statements.conditions(duplicates).items()
        if name in names and condition
    }
    numbered = statements.numbered_rejects(rejects.staged, duplicates)
    found: dict[str, int] = {}
    if conditions:
        sets = ", ".join(rejects_as_bits(condition, judged) for condition in conditions.values())
        row = row_of(rejects.connection, f"SELECT {sets} FROM ({numbered})")
        found = dict(zip(conditions, map(_of_bits, row), strict=True))
    if duplicates:
        known = Reasons(names)
        query = f"SELECT why, {rejects_as_bits('true', judged)} FROM ({numbered}) WHERE why IS NOT NULL GROUP BY why"
        for why, bits in rejects.connection.execute(query).fetchall():
            for name in known.split(why):
                found[name] = found.get(name, 0) | _of_bits(bits)
    return found


def _rejected_rows(rejects: Rejects, count: int) -> int:
    """Return the rejected rows, numbered among the well-formed ones."""
    numbered = rejects.statements.numbered_rejects(rejects.staged, rejects.duplicates)
    bits = rejects_as_bits("true", count, "n")
    return _of_bits(row_of(rejects.connection, f"SELECT {bits} FROM ({numbered})")[0])


def _of_bits(bits: str | None) -> int:
    """Convert a BIT of DuckDB, which begins with row 0, to a set."""
    return int(bits[::-1], 2) if bits else 0


def _record_numbers(flow: dict[str, Any], path: Path, lines: list[int]) -> list[int]:
    """Return the numbers of the records that begin at these lines, which are sorted."""
    if not lines:
        return []
    if path.suffix == ".ndjson":
        return [line - 1 for line in lines]
    dialect, found, wanted = Dialect.of(flow["csv"]), list[int](), iter(lines)
    line, quotes, record, next_line = 0, 0, -1, next(wanted)
    with path.open("rb") as file:
        for text in file:
            line += 1
            if line == next_line:
                found.append(record)
                next_line = next(wanted, 0)
            quotes += text.count(dialect.quote) if dialect.quote else 0
            record += quotes % 2 == 0
    return found
