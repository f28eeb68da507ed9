"""Chooses a cleaner for values that people write in many ways, from a sample. Pure."""

# ruff: noqa: RUF001 - dashes, minus signs and quotes as people type them.
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date

from attrs import evolve, frozen

_ENOUGH = 0.7
"""Share of values that must match for a cleaner to be proposed: low, because such columns are dirty."""
_CURRENCY = r"(?:[A-Z]{0,3}[$€£¥₹₽₺₩]|[A-Z]{3}|(?i:kr|zł|kč|ft|fr|rs)\.?)"
_SIGNED = r"\(?[-+−]? ?(?:{currency})? ?[-+−]? ?{digits}(?:[.,][-–—]+)? ?(?:{currency})? ?-?\)?"
_WITH_POINT = r"(?:\d+|[1-9]\d{0,2}(?:(?:,\d{3})+|(?: \d{3})+|(?:['’]\d{3})+))(?:\.\d{0,4})?"
_WITH_COMMA = r"(?:\d+|[1-9]\d{0,2}(?:(?:\.\d{3})+|(?: \d{3})+|(?:['’]\d{3})+))(?:,\d{0,4})?"
_POINT = re.compile(_SIGNED.format(currency=_CURRENCY, digits=_WITH_POINT))
_COMMA = re.compile(_SIGNED.format(currency=_CURRENCY, digits=_WITH_COMMA))
_PLAIN = re.compile(r"[-+]?\d+(\.\d+)?")
_THOUSANDS = re.compile(_SIGNED.format(currency=_CURRENCY, digits=r"[1-9]\d{0,2}[.,]\d{3}"))
CODE = re.compile(r"[+-]?0\d+")
"""Digits that would lose leading zeros as a number."""
_PERCENT = re.compile(rf"[-+−]? ?(?:{_WITH_POINT}|{_WITH_COMMA}) ?[%‰]")
_YEAR_FIRST = re.compile(
    r"(\d{4})(?:[-/.](\d{1,2})[-/.](\d{1,2})|(\d{2})(\d{2}))(?:[T ]00:00(?::00(?:\.0+)?)?Z?)?"
)
_NUMBERS = re.compile(r"(\d{1,2})([-/. ]) ?(\d{1,2})(?:[-/.] ?| )(\d{4}|\d{2})")
_WORDS = re.compile(
    r"(?:[^\W\d_]+[.,]*,? )?"
    r"(?:\d{1,2}(?:st|nd|rd|th|er|\.)?[-/ ]?(?:of |de )?[^\W\d_]{3,}\.?,?[-/ ]?(?:de |del )?\d{4}"
    r"|[^\W\d_]{3,}\.?[-/ ]\d{1,2}(?:st|nd|rd|th)?,? ?\d{4})"
)
_YES = frozenset(
    {
        *("true", "t", "yes", "y", "1", "on", "x", "ja", "j", "wahr"),
        *("oui", "vrai", "si", "sí", "sì", "vero", "sim", "tak", "✓", "✔"),
    }
)
_NO = frozenset(
    {
        *("false", "f", "no", "n", "0", "off", "nein", "falsch", "non"),
        *("faux", "falso", "não", "nao", "nee", "nie", "nej", "✗", "✘"),
    }
)
_DOMAIN = re.compile(r"[^@\s<>.]+(\.[^@\s<>.]+)+>?")
_PHONE = re.compile(r"(?:tel:)? ?\(?\+?[\d ().\-–/]{6,}")
_PHONE_NAME = re.compile(r"phone|telefon|(^|[^a-z])(tel|fax|mobile?|handy)([^a-z]|$)", re.IGNORECASE)
_COUNTRY_NAME = re.compile(r"(^|[^a-z])(country|land|pays|pa[ií]s|paese|nation)([^a-z]|$)", re.IGNORECASE)

Kind = tuple[str, str | None, str | None]
_CENTS: Kind = ("number", None, "DECIMAL(18,2)")


@frozen
class Guess:
    """A possible reading of a column.

    Attributes:
        sql: the expression, with `{column}` in it.
        kind: its type, format and SQL type, as in `infer`.
        about: what to check, for a comment.
        misfits: the values that don't have its form.
    """

    sql: str
    kind: Kind
    about: str
    misfits: list[str]


def guesses(name: str, values: Sequence[str]) -> Iterator[Guess]:
    """Yield ways to read the values of a column, which must not be blank, the most likely first.

    Only forms are compared: the engine decides whether a cleaner reads the values.
    """
    if values:
        for way in (_emails, _dates, _percents, _phones, _money, _booleans, _countries):
            if (found := way(name, values)) is not None:
                yield found
                if found.kind == _CENTS:
                    yield evolve(found, kind=("number", None, "DECIMAL(18,4)"))


def misfits_of(
    values: Sequence[str], fits: Callable[[str], object], enough: float = _ENOUGH
) -> list[str] | None:
    """Return the values that don't match; None, right away, if less than this share does."""
    most, found = len(values) * (1 - enough), list[str]()
    for value in values:
        if not fits(value):
            found.append(value)
            if len(found) > most:
                return None
    return found


def _emails(_name: str, values: Sequence[str]) -> Guess | None:
    def is_email(value: str) -> bool:
        # An address may also be as in `Ann <ann@example.org>`. One pattern for all would backtrack.
        before, _, domain = value.partition("@")
        return bool(
            before and not before[-1].isspace() and before[-1] not in "<>" and _DOMAIN.fullmatch(domain)
        )

    misfits = misfits_of(values, is_email)
    return None if misfits is None else Guess("parse_email({column})", ("string", "email", None), "", misfits)


def _dates(_name: str, values: Sequence[str]) -> Guess | None:
    slashed = [found for value in values if (found := _NUMBERS.fullmatch(value)) and found[2] != "."]
    first = sum(int(found[1]) > 12 for found in slashed)
    second = sum(int(found[3]) > 12 for found in slashed)
    short = any((found := _NUMBERS.fullmatch(value)) and len(found[4]) == 2 for value in values)
    order = "mdy" if second > first else "dmy" if slashed or short else ""

    def is_date(value: str) -> bool:
        if found := _YEAR_FIRST.fullmatch(value):
            return _is_day(found[1], found[2] or found[4], found[3] or found[5])
        if found := _NUMBERS.fullmatch(value):
            day, month = (found[3], found[1]) if order == "mdy" and found[2] != "." else (found[1], found[3])
            return _is_day(found[4] if len(found[4]) == 4 else "20" + found[4], month, day)
        return bool(_WORDS.fullmatch(value))

    misfits = misfits_of(values, is_date)
    if misfits is None:
        return None
    if not order:
        return Guess("parse_date_any({column})", ("string", "date", None), "", misfits)
    about = f"03/04/2024 is read as {'March 4' if order == 'mdy' else '3 April'}: is that right?"
    return Guess(f"parse_date_any({{column}}, '{order}')", ("string", "date", None), about, misfits)


def _is_day(year: str, month: str, day: str) -> bool:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def _percents(_name: str, values: Sequence[str]) -> Guess | None:
    misfits = misfits_of(values, _PERCENT.fullmatch)
    if misfits is None:
        return None
    return Guess(
        "parse_percent({column})", ("number", None, "DECIMAL(18,6)"), "a fraction: 12 % is 0.12", misfits
    )


def _phones(name: str, values: Sequence[str]) -> Guess | None:
    misfits = misfits_of(values, _PHONE.fullmatch) if _PHONE_NAME.search(name) else None
    if misfits is None:
        return None
    bare = [value for value in values if not re.match(r"(tel:)? ?\(?(\+|00)", value)]
    about = "numbers without + need a country: parse_phone(…, 'DE')" if bare else ""
    return Guess("parse_phone({column})", ("string", None, None), about, sorted({*bare, *misfits}))


def _money(_name: str, values: Sequence[str]) -> Guess | None:
    if any(map(CODE.fullmatch, values)):
        return None  # codes with leading zeros
    written = [value for value in values if not _PLAIN.fullmatch(value)]
    misfits = misfits_of(written and values, lambda value: _POINT.fullmatch(value) or _COMMA.fullmatch(value))
    if misfits is None or len(misfits) >= len(written):
        return None
    point = [value for value in values if not _POINT.fullmatch(value)]
    comma = [value for value in values if not _COMMA.fullmatch(value)]
    kind = _CENTS
    about = "currencies are dropped: are they all the same?"
    if len(point) == len(comma):
        ambiguous = "1,234 and 1.234 are rejected unless the decimal mark is given: parse_money(…, ',')"
        return Guess("parse_money({column})", kind, ambiguous, misfits)
    mark, others = (".", point) if len(point) < len(comma) else (",", comma)
    if len(others) > len(values) * 0.1:
        return Guess("parse_money({column})", kind, about, misfits)
    if any(map(_THOUSANDS.fullmatch, values)):
        number = "1.234" if mark == "," else "1,234"
        about = f"{number} is read as 1234, and currencies are dropped: is that right?"
    return Guess(f"parse_money({{column}}, '{mark}')", kind, about, others)


def _booleans(_name: str, values: Sequence[str]) -> Guess | None:
    words = {value.lower() for value in values}
    misfits = misfits_of(values, lambda value: value.lower() in _YES | _NO)
    if misfits is None or not (words & _YES and words & _NO):
        return None
    return Guess("parse_bool({column})", ("boolean", None, None), "", misfits)


def _countries(name: str, values: Sequence[str]) -> Guess | None:
    if not _COUNTRY_NAME.search(name) or misfits_of(values, re.compile(r"[^\d@]{2,}").fullmatch) is None:
        return None
    return Guess("country_code({column})", ("string", None, None), "countries become their codes", [])
