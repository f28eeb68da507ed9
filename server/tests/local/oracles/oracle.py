"""What must become of every row, worked out again in plain Python: csv state by state, json, decimal, datetime.

Nothing of the engine is used here, and no regular expression of its grammar: where the two differ, one is wrong.
"""

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

from attrs import Factory, define
from local.oracles.plain_csv import Bad, Dialect, Row, count_lines, end_of_line, one_record, records

REJECT: Any = object()
SPACE = " \t\n\r\f"
"""May stand around values that aren't strings."""


@define
class Verdict:
    """What a run must give. `failed` is a word of the error where there is no output at all."""

    failed: str | None = None
    mapped: list[tuple[Any, ...]] = Factory(list)
    rejected: list[list[str]] = Factory(list)
    bad: list[Bad] = Factory(list)
    lines: int = 0

    @property
    def records(self) -> int:
        return len(self.mapped) + len(self.rejected) + len(self.bad)


def value_of(text: str | None, column: dict[str, Any]) -> Any:
    """What a text is as a column's type: a value, None, or `REJECT`."""
    kind = column["sql_type"]
    if text is None:
        return None
    try:
        return _VALUES[kind.partition("(")[0]](text, kind)
    except (ValueError, ArithmeticError, OverflowError):
        return REJECT


_DIGITS = set("0123456789")
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}


def _integer(text: str, kind: str) -> int:
    body = text.strip(SPACE)
    digits = body[1:] if body[:1] in ("+", "-") else body
    if not digits or set(digits) - _DIGITS:
        raise ValueError
    value = int(body)
    most = 10**38 - 1 if kind == "HUGEINT" else 2 ** (_BITS[kind] - 1) - 1
    low, high = (-most, most) if kind == "HUGEINT" else (-most - 1, most)
    if not low <= value <= high:
        raise ValueError
    return value


def _plain_number(text: str) -> str:
    body = text.strip(SPACE)
    mantissa = body[1:] if body[:1] in ("+", "-") else body
    if set(mantissa) - _DIGITS - {"."} or mantissa.count(".") > 1 or not set(mantissa) & _DIGITS:
        raise ValueError
    return body


def _decimal(text: str, kind: str) -> Decimal:
    digits, scale = map(int, kind.partition("(")[2].rstrip(")").split(","))
    value = Decimal(_plain_number(text))
    unit = value * 10**scale
    if unit != int(unit) or abs(unit) >= 10**digits:
        raise ValueError
    return value


def _double(text: str, kind: str) -> float:
    body = text.strip(SPACE)
    mantissa, letter, exponent = body.replace("E", "e").partition("e")
    if letter:
        sign_less = exponent[1:] if exponent[:1] in ("+", "-") else exponent
        if not sign_less or set(sign_less) - _DIGITS:
            raise ValueError
    _plain_number(mantissa)
    if mantissa != mantissa.strip():
        raise ValueError
    value = float(body)
    if not math.isfinite(value):
        raise ValueError
    return value


def _date(text: str, kind: str) -> dt.date:
    body = text.strip(SPACE)
    if len(body) != 10 or not body.isascii() or body[4] != "-" or body[7] != "-":
        raise ValueError
    return dt.date.fromisoformat(body)


def _time(text: str, kind: str) -> dt.time:
    body = text.strip(SPACE)
    whole, dot, fraction = body.partition(".")
    parts = whole.split(":")
    if len(parts) not in (2, 3) or any(len(part) != 2 or set(part) - _DIGITS for part in parts):
        raise ValueError
    if dot and (len(parts) == 2 or not fraction or set(fraction) - _DIGITS or fraction[6:].strip("0")):
        raise ValueError
    return dt.time(*map(int, parts), microsecond=int(fraction[:6].ljust(6, "0")) if dot else 0)


def _moment(text: str, kind: str) -> dt.datetime:
    """In UTC, without a zone."""
    body = text.strip(SPACE)
    day = _date(body[:10], kind) if body[:1] not in SPACE else None
    if day is None:
        raise ValueError
    rest = body[10:]
    if not rest:
        return dt.datetime.combine(day, dt.time())
    if rest[0] not in "T ":
        raise ValueError
    clock, offset = rest[1:], dt.timedelta()
    if kind == "TIMESTAMPTZ":
        clock, offset = _offset(clock)
    if clock != clock.strip():
        raise ValueError
    return dt.datetime.combine(day, _time(clock, kind)) - offset


def _offset(clock: str) -> tuple[str, dt.timedelta]:
    if clock.endswith("Z"):
        return clock[:-1], dt.timedelta()
    at = max(clock.find("+"), clock.find("-"))
    if at < 0:
        return clock, dt.timedelta()
    digits = clock[at + 1 :].replace(":", "", 1) if clock[at + 3 : at + 4] == ":" else clock[at + 1 :]
    if len(digits) not in (2, 4) or set(digits) - _DIGITS:
        raise ValueError
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError
    return clock[:at], (-1 if clock[at] == "-" else 1) * dt.timedelta(hours=hours, minutes=minutes)


def _boolean(text: str, kind: str) -> bool:
    word = text.strip(" ").lower()
    if word in ("true", "t", "yes", "y", "1"):
        return True
    if word in ("false", "f", "no", "n", "0"):
        return False
    raise ValueError


_VALUES: dict[str, Any] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), _integer),
    **{"DECIMAL": _decimal, "DOUBLE": _double, "DATE": _date, "TIME": _time, "BOOLEAN": _boolean},
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPTZ"), _moment),
    "VARCHAR": lambda text, kind: text,
}


def breaks(value: Any, column: dict[str, Any]) -> bool:
    """Whether a value breaks one of its column's checks, `unique` apart."""
    if value is None:
        return bool(column.get("required"))
    least, most = column.get("minimum"), column.get("maximum")
    if isinstance(least, str):
        least, most = (value_of(bound, column) if bound else None for bound in (least, most))
    return (
        (least is not None and value < least)
        or (most is not None and value > most)
        or (bool(column.get("enum")) and value not in column["enum"])
        or ("minLength" in column and len(value) < column["minLength"])
        or ("maxLength" in column and len(value) > column["maxLength"])
    )


def judge(rows: list[list[str | None]], columns: list[dict[str, Any]], verdict: Verdict) -> Verdict:
    """Rows of the texts of the target's columns, into what is mapped and what is rejected."""
    held: list[set[Any]] = [set() for _ in columns]
    for texts in rows:
        values = [value_of(text, column) for text, column in zip(texts, columns, strict=True)]
        bad = any(
            value is REJECT or breaks(value, column) for value, column in zip(values, columns, strict=True)
        )
        unique = [n for n, column in enumerate(columns) if column.get("unique") and values[n] is not None]
        if bad or any(values[n] in held[n] for n in unique):
            verdict.rejected.append([text or "" for text in texts])
            continue
        for n in unique:
            held[n].add(values[n])
        verdict.mapped.append(tuple(values))
    return conclude(verdict)


def conclude(verdict: Verdict) -> Verdict:
    """A run in which every row is rejected has no output."""
    if verdict.records and not verdict.mapped:
        all_rows = "the only row was" if verdict.records == 1 else f"all {verdict.records:,} rows were"
        verdict.failed = f"{all_rows} rejected"
    return verdict


def csv_verdict(data: bytes, dialect: Dialect, columns: dict[str, dict[str, Any]]) -> Verdict:
    """What a run of a flow must give that takes each of its columns as it is from a CSV file (in UTF-8)."""
    verdict = Verdict(lines=count_lines(data))
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    header = one_record(data, at, dialect)
    if header is None:
        return Verdict("header")
    names = [field.decode(errors="replace").strip() for field in header[0]]
    if not any(names):
        return Verdict("header")
    lower = [name.lower() for name in names]
    if any(lower.count(name.lower()) != 1 for name in columns):
        return Verdict("column|header")
    places = [lower.index(name.lower()) for name in columns]
    rows: list[list[str | None]] = []
    for record in records(data, end_of_line(data, header[1])[1], dialect, len(names)):
        if isinstance(record, Row):
            rows.append([record.values[n] or None for n in places])
        else:
            verdict.bad.append(record)
    return judge(rows, list(columns.values()), verdict)


def table_verdict(
    rows: list[list[str | None]], columns: dict[str, dict[str, Any]], lines: int = 0
) -> Verdict:
    """The same for rows of a format that knows texts and NULL by itself; `rows` have the columns of the target."""
    return judge(rows, list(columns.values()), Verdict(lines=lines))


def many_verdict(
    files: list[tuple[str, bytes]], dialect: Dialect, columns: dict[str, dict[str, Any]]
) -> Verdict:
    """The same for several CSV files with the columns in orders of their own: one table."""
    verdict, rows = Verdict(), list[list[str | None]]()
    for _, data in files:
        verdict.lines += count_lines(data)
        start = one_record(data, 0, dialect)
        assert start is not None
        names = [field.decode() for field in start[0]]
        for record in records(data, end_of_line(data, start[1])[1], dialect, len(names)):
            if isinstance(record, Row):
                rows.append([record.values[names.index(name)] or None for name in columns])
            else:
                verdict.bad.append(record)
    return judge(rows, list(columns.values()), verdict)


def ndjson_verdict(data: bytes, columns: dict[str, dict[str, Any]]) -> Verdict:
    """The same for NDJSON."""
    verdict = Verdict(lines=count_lines(data))
    plain = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    rows: list[list[str | None]] = []
    for number, line in enumerate(plain.split(b"\n"), 1):
        if not line.strip(b" \t"):
            continue
        try:
            found = json.loads(
                line.decode(),
                parse_float=_without_exponent,
                parse_int=str,
                parse_constant=_no_constant,
                object_pairs_hook=_no_twins,
            )
            json.dumps(found, ensure_ascii=False).encode()
        except Twins:
            verdict.bad.append(Bad(number, "repeats a key", line))
        except UnicodeDecodeError:
            verdict.bad.append(Bad(number, "not valid UTF-8", line))
        except ValueError:
            verdict.bad.append(Bad(number, "not a JSON object", line))
        else:
            if isinstance(found, dict):
                rows.append([_text(found.get(name)) for name in columns])
            else:
                verdict.bad.append(Bad(number, "not a JSON object", line))
    return judge(rows, list(columns.values()), verdict)


class Twins(Exception):
    """A key that is there twice."""


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Twins
    return dict(pairs)


def _without_exponent(digits: str) -> str:
    """As a number with a fraction, which `1e3` is."""
    if "e" not in digits.lower():
        return digits
    plain = format(Decimal(digits), "f")
    return plain if "." in plain else f"{plain}.0"


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _text(value: Any) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value
