"""The values of cells as expressions see them: strings, or NULL for a cell that displays nothing. Pure."""

import datetime
from functools import cache
from typing import Any

_WHOLE = 1e15
"""Below this, a float represents every whole number exactly."""
EPOCHS = (datetime.datetime(1899, 12, 30), datetime.datetime(1904, 1, 1))
"""Day 0 of a workbook; the second is for old Macs."""


class ErrorText(str):
    """An error that a cell shows, such as `#N/A`."""

    __slots__ = ()


class Unsaved(str):
    """A formula whose value was never computed."""

    __slots__ = ()


def as_text(value: Any, number_format: str = "General") -> str | None:
    """Convert a Python value from a workbook reader to a string."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        # A date without a time of day is shown without it, if the cell does so.
        is_day = _shape(number_format) == "date" and value.time() == datetime.time()
        return value.date().isoformat() if is_day else value.isoformat(" ")
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


@cache
def _shape(number_format: str) -> str:
    """Return whether a format shows a `date`, a `time`, a `datetime` or a `duration`; empty for a number."""
    from openpyxl.styles.numbers import is_date_format, is_datetime, is_timedelta_format

    if not is_date_format(number_format):
        return ""
    return "duration" if is_timedelta_format(number_format) else str(is_datetime(number_format.lower()))


def number_as_text(number: float, number_format: str, *, is_1904: bool) -> str | None:
    """Convert a number by its format, as openpyxl does in .xlsx."""
    from openpyxl.utils.datetime import from_excel

    if not (shape := _shape(number_format)):
        return as_text(number)
    try:
        value: Any = from_excel(number, EPOCHS[is_1904], timedelta=shape == "duration")
    except (OverflowError, ValueError):
        return ErrorText("#VALUE!")  # Excel shows ####
    return as_text(value, number_format)
