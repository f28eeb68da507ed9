"""Dates in several spellings and amounts of money: an expression that reads what a sample has of them. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

_DATES_ENOUGH, _AMOUNTS_ENOUGH = 0.75, 0.9
"""The shares of values that must fit: these columns are the dirty ones, and a date is hard to mistake."""
_DAY_FIRST, _MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d-%m-%Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y")
_CURRENCY = r"(?:[$€£¥]|EUR|USD|GBP|CHF|JPY)"
_AMOUNT = r"{currency}?\s*-?(?:\d{{1,3}}(?:{thousand}\d{{3}})+|\d+)(?:{point}\d+)?\s*{currency}?"
_DOT = re.compile(_AMOUNT.format(currency=_CURRENCY, thousand=",", point=r"\."))
_PLAIN = re.compile(r"-?\d+(\.\d+)?")
_COMMA = re.compile(_AMOUNT.format(currency=_CURRENCY, thousand=r"\.", point=","))


@frozen
class Guess:
    """How a column can be read.

    Attributes:
        sql: the expression, with `{column}` in it.
        kind: its type, format and SQL type, as `flow_infer` has them.
        about: what to check, for a comment.
        misfits: the values that it does not read.
    """

    sql: str
    kind: tuple[str, str | None, str | None]
    about: str
    misfits: list[str]


def guess(values: Sequence[str]) -> Guess | None:
    """A way to read these values, none of which is blank; None if there is none."""
    return _dates(values) or _money(values) if values else None


def _dates(values: Sequence[str]) -> Guess | None:
    slashes = [value for value in values if re.fullmatch(r"\d{1,2}/\d{1,2}/\d{4}", value)]
    months_first = sum(_is(value, _MONTH_FIRST) for value in slashes)
    slash = _MONTH_FIRST if months_first > sum(_is(value, _DAY_FIRST) for value in slashes) else _DAY_FIRST
    found = {value: next((form for form in (*_DATES, slash) if _is(value, form)), None) for value in values}
    forms = Counter(form for value in values if (form := found[value]))
    misfits = [value for value in values if found[value] is None]
    if not forms or len(misfits) > len(values) * (1 - _DATES_ENOUGH):
        return None
    listed = ", ".join(f"'{form}'" for form, _count in forms.most_common())
    about = f"{slash} was guessed" if slash in forms else "the spellings in the sample"
    return Guess(f"strptime(trim({{column}}), [{listed}])", ("string", "date", None), about, misfits)


def _is(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _money(values: Sequence[str]) -> Guess | None:
    if any(re.fullmatch(r"[+-]?0\d+", value) for value in values):
        return None  # codes with leading zeros
    for amount, separators in ((_DOT, (",", ".")), (_COMMA, (".", ","))):
        misfits = [value for value in values if not amount.fullmatch(value)]
        written = sum(bool(amount.fullmatch(value)) and not _PLAIN.fullmatch(value) for value in values)
        if written and len(misfits) <= len(values) * (1 - _AMOUNTS_ENOUGH):
            return _amount(separators, misfits)
    return None


def _amount(separators: tuple[str, str], misfits: list[str]) -> Guess:
    thousand, point = separators
    sql = f"regexp_replace(trim({{column}}), '^{_CURRENCY}\\s*|\\s*{_CURRENCY}$', '', 'g')"
    sql = f"replace({sql}, '{thousand}', '')"
    if point == ",":
        sql = f"replace({sql}, ',', '.')"
    return Guess(
        sql, ("number", None, "DECIMAL(18,2)"), "currencies are dropped: are they all the same?", misfits
    )
