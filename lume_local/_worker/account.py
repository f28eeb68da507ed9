"""The account of a run: every record of the source is mapped or rejected, or nothing is written."""

from typing import Any

from lume_local._worker.sources.intake import Account


class AccountOpen(Exception):
    """Rows are missing, or there are more than there should be: a fault of the engine."""


def close_account(account: Account, staged: int, malformed: int, metrics: dict[str, Any]) -> None:
    """Compare what the source was split into with what was read and judged. Raises `AccountOpen`."""
    _same("records in the source", account.records, "rows read and malformed lines", staged + malformed)
    total = metrics["rows_mapped"] + metrics["rows_rejected"]
    _same("records in the source", account.records, "rows mapped and rejected", total)


def check_written(part: str, rows: int, written: int) -> None:
    """Compare the rows that a target should have with those that were written. Raises `AccountOpen`."""
    _same(f"rows {part}", rows, f"rows written to target.{part}", written)


def _same(what: str, count: int, other: str, found: int) -> None:
    if count != found:
        raise AccountOpen(
            f"row counts do not match (a bug in lume): {count:,} {what}, but {found:,} {other}. Nothing was "
            "written. Please report it, with the file if possible"
        )


def top_reasons(metrics: dict[str, Any]) -> str:
    """The most frequent reasons of rejects, for a message."""
    reasons = sorted(metrics["reject_reasons"].items(), key=lambda item: -item[1])
    listed = "; ".join(f"{reason} ({count:,})" for reason, count in reasons[:5])
    return listed + ("; …" if len(reasons) > 5 else "")


def status_of(metrics: dict[str, Any]) -> str:
    """What a run with output ends with."""
    return "PARTIAL_FAILED" if metrics["rows_rejected"] else "SUCCEEDED"
