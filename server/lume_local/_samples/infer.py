"""Infers the columns of a sample: their types, and the words for a missing value.

Conservative: a code such as 00123 stays a string, and a guess that the engine does not confirm on all rows becomes a
comment.
"""

# ruff: noqa: RUF001, SIM905 - dashes as people type them; a list of these would take a screen.
import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from attrs import frozen

from lume_async._base.words import counted, listed
from lume_local._flow.definition import quoted
from lume_local._samples.guess import CODE, Guess, guesses, misfits_of
from lume_local._samples.opening import JudgedColumn, ReadSample, SampleRows
from lume_local._samples.table_start import start_of_lines

_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_FEW = 8
"""Maximum distinct values of a possible enumeration."""
_ENOUGH = 0.95
"""Share of values that must match a type for it to be tried."""

DELIMITERS = ",;\t|"
_RARE_DELIMITERS = "^~\x1f\x01"
"""Only if all lines have as many values as the header: these signs occur in texts, too."""
_MOST = 0.7
"""Share of lines that must have as many values as the header, or share a width for it to be the file's."""
_COUNTRY = "country_code({column})"
AT_ONCE = 200
"""Columns to judge at a time: a flow has at most 5,000, and many take long to compile."""

_WORDS = frozenset(
    "NA N/A n/a na #N/A #NA N.A. n.a. - -- – — . .. ? NULL null Null (null) <NA>".split()
    + "None none nil NaN nan NAN -nan \\N".split()
    + ["#N/A N/A"]
)
_USUAL_IN_TEXTS = frozenset({"?", "-", "--", "–", "—", ".", "none", "None"})
"""Words that are more likely answers in a column of strings."""


@frozen
class Doubt:
    """A guess that does not hold.

    Attributes:
        guess: the guess with the fewest misfits.
        count: how many rows of the sample it would reject.
        examples: values of these rows.
    """

    guess: Guess
    count: int
    examples: list[str]


class SampleColumn:
    """The analysis of one source column.

    Attributes:
        source: its name in the file.
        guesses: ways to read its values, the most likely first; the first that holds is used (see `judge`).
        guess: the guess in use; None for an unchanged string.
        doubt: what to check if none holds.
        tolerated: the doubt about the guess in use, whose misfits a run rejects (see `tolerate`).
        spaces: whether values are padded with spaces, apart from values with line breaks caused by a stray quote.
        required: whether no value is empty.
        unique: whether all values are distinct.
        blanks: how many values are empty, if so few that they may be mistakes.
        twins: the values that occur more than once, if there are few.
        nulls: the words that stand for no value, as all others are numbers, dates or the like; texts keep them.
        codes: whether values are digits with leading zeros, which a number would lose.
        values: the distinct values, if they look like an enumeration; empty if a cleaner changes them.
    """

    def __init__(self, source: str, values: Sequence[str], nulls: Sequence[str] = ()) -> None:
        self.source, self.nulls = source, nulls
        values = ["" if value.strip() in nulls else value for value in values]
        filled = [value.strip() for value in values if value.strip()]
        self.spaces = any(value != value.strip() for value in values if not {"\n", "\r"} & {*value})
        self.required = bool(filled) and len(filled) == len(values)
        few = len(values) * (1 - _ENOUGH)
        self.blanks = blanks if 0 < (blanks := len(values) - len(filled)) <= few else 0
        distinct = len(filled) > 1 and len(set(filled)) == len(filled)
        self.unique = distinct and (self.required or self.blanks > 0)
        again = sorted(value for value, count in Counter(filled).items() if count > 1)
        self.twins = again if len(filled) - len(set(filled)) <= few else []
        self.guesses = [*_kinds(filled), *guesses(source, filled)]
        self.guess = self.guesses[0] if self.guesses else None
        self.doubt: Doubt | None = None
        self.tolerated: Doubt | None = None
        self.codes = any(map(CODE.fullmatch, filled))
        different = sorted(set(filled))
        many = len(filled) >= 4 * len(different)
        self.values = different if self.guess is None and many and len(different) <= _FEW else []

    def tolerate(self, most: float) -> None:
        """Use the guess in doubt if it rejects at most so many rows of the sample."""
        if self.doubt is not None and self.doubt.count <= most:
            self.guess, self.tolerated, self.doubt, self.values = self.doubt.guess, self.doubt, None, []


def delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that gives the header the most columns, preferably as many as most lines have.

    Not all lines need to agree: a flow rejects ragged rows. Lines above the header do not count.
    """
    best = max(DELIMITERS, key=lambda mark: _merit(lines, mark))
    if _merit(lines, best)[1] < 2 and sum(bool(line.strip()) for line in lines) > 1:
        rare = max(_RARE_DELIMITERS, key=lambda mark: _merit(lines, mark))
        return rare if _merit(lines, rare)[2] == 1 else best
    return best


def likelier_delimiter(lines: Sequence[str], given: str) -> Iterator[str]:
    """Yield a doubt about a delimiter with which most lines are not as wide as the header, if another one fits."""
    fits, width, _ = _merit(lines, given)
    guess = delimiter(lines)
    other_fits, other_width, _ = _merit(lines, guess)
    if width > 1 and other_fits and not fits:
        yield (
            f"with the delimiter {json.dumps(given)} most lines are not as wide as the header, with "
            f"{json.dumps(guess)} they have {counted(other_width, 'column')}: set its delimiter"
        )


def _merit(lines: Sequence[str], mark: str) -> tuple[bool, int, float]:
    """Return whether most lines are as wide as the header, its width (0 if it is one column), and their share."""
    start = start_of_lines(lines, mark)
    with suppress(csv.Error):
        widths = [len(row) for row in csv.reader(lines[start.row :], delimiter=mark) if row]
        if widths and widths[0] > 1:
            share = widths.count(widths[0]) / len(widths)
            return share >= _MOST, widths[0], share
    return False, 0, 0.0


def infer(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    nulls: Mapping[str, Sequence[str]] = {},
) -> list[SampleColumn]:
    """Return the columns; rows that are too short or too long are skipped."""
    fitting = [row for row in rows if len(row) == len(header)]
    columns = [
        SampleColumn(name, [row[index] for row in fitting], nulls.get(name, ()))
        for index, name in enumerate(header)
    ]
    # Phone numbers without + are read by the country column of the same row.
    countries = (column.source for column in columns for guess in column.guesses if guess.sql == _COUNTRY)
    country = next(countries, None)
    for column in columns:
        for n, guess in enumerate(column.guesses):
            if country is not None and guess.sql == "parse_phone({column})" and guess.about:
                name = quoted(country).replace("{", "{{").replace("}", "}}")
                by_country = f"parse_phone({{column}}, TRY(country_code({name})))"
                about = f"numbers without + get their country from {country}"
                column.guesses.insert(n, Guess(by_country, guess.kind, about, []))
                column.guess = column.guesses[0]
                break
    return columns


def is_typed(values: Sequence[str]) -> bool:
    """Return whether these are numbers, dates, truth values and the like, and not strings."""
    return any(True for _ in _kinds(values)) or any(
        guess.kind[0] != "string" or guess.kind[1] == "date" for guess in guesses("", values)
    )


def _kinds(values: Sequence[str]) -> Iterator[Guess]:
    """Yield the types that (nearly) all values match without a cleaner, the one with the fewest misfits first."""
    codes = any(map(CODE.fullmatch, values))
    found = []
    for fits, kind in _KINDS:
        misfits = misfits_of(values, fits, _ENOUGH) if values else None
        if misfits is not None and not (codes and kind[0] in ("integer", "number")):
            found.append(Guess("", kind, "", misfits))
    yield from sorted(found, key=lambda guess: len(guess.misfits))


def _is_date(value: str) -> bool:
    with suppress(ValueError):
        return len(value) == 10 and value[4] == "-" and bool(date.fromisoformat(value))
    return False


def _is_time(value: str, *, zoned: bool) -> bool:
    with suppress(ValueError):
        return (
            len(value) >= 16
            and value[4] == "-"
            and (datetime.fromisoformat(value).tzinfo is not None) == zoned
        )
    return False


_KINDS: tuple[tuple[Callable[[str], object], tuple[str, str | None, str | None]], ...] = (
    (_INTEGER.fullmatch, ("integer", None, None)),
    (_NUMBER.fullmatch, ("number", None, None)),
    (lambda value: value.lower() in ("true", "false"), ("boolean", None, None)),
    (_is_date, ("string", "date", None)),
    (lambda value: _is_time(value, zoned=True), ("string", "date-time", None)),
    (lambda value: _is_time(value, zoned=False), ("string", "date-time", "TIMESTAMP")),
    (_EMAIL.fullmatch, ("string", "email", None)),
)
"""Tests for each kind of value; if two match equally well, the first wins."""


def judge(sample: ReadSample, source: Mapping[str, Any], columns: Sequence[SampleColumn]) -> None:
    """Decide how each column is read, and whether it is required. Raises `ConfigurationError`."""
    for first in range(0, len(columns), AT_ONCE):
        some = columns[first : first + AT_ONCE]
        likeliest = _judged(sample, source, [(column, column.guesses[:1] or [None]) for column in some])
        rest = list[tuple[SampleColumn, JudgedColumn]]()
        for column, (one,) in zip(some, likeliest, strict=True):
            if column.guesses and one.misfits:
                rest.append((column, one))
            else:
                column.required = column.required and not one.missing
        # Most columns are done: trying all guesses of all would take twice as long.
        others = _judged(sample, source, [(column, [None, *column.guesses[1:]]) for column, _ in rest])
        for (column, one), (as_text, *guessed) in zip(rest, others, strict=True):
            _choose(column, as_text, [one, *guessed])


def _judged(
    sample: ReadSample,
    source: Mapping[str, Any],
    tried: Sequence[tuple[SampleColumn, Sequence[Guess | None]]],
) -> list[list[JudgedColumn]]:
    """Return what becomes of each column read by each of these guesses, None for a text."""
    definitions = {
        f"{n}_{m}": (column.source, definition(column, guess) | {"required": True})
        for n, (column, several) in enumerate(tried)
        for m, guess in enumerate(several)
    }
    found = sample.judge(source, definitions) if definitions else {}
    return [[found[f"{n}_{m}"] for m in range(len(several))] for n, (_, several) in enumerate(tried)]


def _choose(column: SampleColumn, as_text: JudgedColumn, guessed: Sequence[JudgedColumn]) -> None:
    """Choose the first guess that holds, or none."""
    for guess, one in zip(column.guesses, guessed, strict=True):
        if not one.misfits:
            column.guess, column.required = guess, column.required and not one.missing
            return
    column.guess, column.required = None, column.required and not as_text.missing
    least = min(range(len(guessed)), key=lambda n: guessed[n].misfits)
    column.doubt = Doubt(column.guesses[least], guessed[least].misfits, guessed[least].examples)


def definition(column: SampleColumn, guess: Guess | None) -> dict[str, str]:
    """Return the flow's `[columns.<name>]`, read by that guess, or as a text."""
    name = quoted(column.source)
    plain = without(name, [""]) if column.spaces else name
    if guess is None:
        return {"sql": plain, "type": "string"}
    if column.nulls:
        plain = name = without(name, ["", *column.nulls] if column.spaces else column.nulls)
    type_, format_, sql_type = guess.kind
    wanted = {
        "sql": guess.sql.format(column=name) if guess.sql else plain,
        "type": type_ if type_ != "string" or format_ is None else None,
        "format": format_,
        "sql_type": sql_type,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def without(sql: str, nulls: Iterable[str]) -> str:
    """Return the expression with NULL in place of words that stand for no value."""
    for n, word in enumerate(nulls):
        sql = f"nullif({sql if n else f'trim({sql})'}, '{word}')"
    return sql


def null_words(
    names: Sequence[str], columns: Sequence[Sequence[str]], known: Collection[str]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return words that stand for no value among numbers, dates or truth values, by column.

    And words that may mean it in texts, each with its first column. Words that the flow has `known` are left out.
    """
    typed: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for name, values in zip(names, columns, strict=True):
        filled = [value.strip() for value in values if value.strip()]
        if not (words := {value: None for value in filled if value in _WORDS and value not in known}):
            continue
        others = [value for value in filled if value not in _WORDS]
        if others and is_typed(others):
            typed[name] = list(words)
        else:
            for word in words:
                texts.setdefault(word, name)
    return typed, {word: name for word, name in texts.items() if word not in _USUAL_IN_TEXTS}


_CONTROL = re.compile("[\x80-\x9f]")
"""The control characters of Latin-1; most of them are letters and signs in cp1252."""


def doubts(names: Sequence[str], rows: Sequence[Sequence[str]], delim: str) -> list[str]:
    """Return doubts about the first lines of a CSV file."""
    asked = [_one_column(names, rows, delim), _other_width(names, rows)]
    if delim in _RARE_DELIMITERS and len(names) > 1:
        asked.append(f"the delimiter is taken to be {json.dumps(delim)}: is that right?")
    if 2 * sum(not name.strip() for name in names) >= len(names):
        asked.append(
            "most cells of the first line are empty: if it is a title, set the line of the header, or delete what is "
            "above it"
        )
    return [doubt for doubt in asked if doubt]


def of_names(header: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield columns that the header leaves unnamed or names twice. `names` are the resulting names."""
    called: dict[str, list[str]] = {}
    for cell, name in zip(header, names, strict=True):
        called.setdefault(cell.lower(), []).append(name)
    for cell, shown in called.items():
        if not cell and shown:
            yield f"{counted(len(shown), 'cell')} of the header without a name: called {listed(shown, 5, str)}"
        elif len(shown) > 1:
            yield f"the header names {cell!r} {len(shown)} times: called {listed(shown, 5, str)}"


def of_malformed(found: SampleRows) -> Iterator[str]:
    """Yield the malformed lines, which a run rejects."""
    if found.malformed:
        reasons = ", ".join(
            f"{reason.removeprefix('malformed line: ')}: {count:,}"
            for reason, count in found.malformed.items()
        )
        total = sum(found.malformed.values())
        at = ", ".join(f"{line:,}" for line in found.malformed_lines)
        yield f"a run rejects {counted(total, 'line')} of the sample ({reasons}): see line {at}" + (
            ", …" if total > len(found.malformed_lines) else ""
        )


def _one_column(names: Sequence[str], rows: Sequence[Sequence[str]], delim: str) -> str:
    """Check a header of one column: it contains a possible delimiter, or the lines below have another one."""
    if len(names) != 1:
        return ""
    if marks := [mark for mark in DELIMITERS + _RARE_DELIMITERS if mark in names[0]]:
        shown = " or ".join(json.dumps(mark) for mark in marks)
        return (
            f"with the delimiter {json.dumps(delim)} the header is one column, {names[0]!r}: if it is {shown}, set "
            "its delimiter"
        )
    lines = [delim.join(row) for row in rows if any(row)]
    usual = [(*_usual([len(row) for row in csv.reader(lines, delimiter=mark)]), mark) for mark in DELIMITERS]
    width, _, mark = max((one for one in usual if one[1] >= _MOST), default=(1, 1.0, ""))
    if width == 1:
        return ""
    return (
        f"the first line is one column, {names[0]!r}, but most lines are {width} with the delimiter "
        f"{json.dumps(mark)}: if it is a title, set the line of the header, or delete what is above it"
    )


def trailing_delimiter(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the rows end with a delimiter and the header does not."""
    width, share = _usual([len(row) for row in rows if row])
    is_wider = len(names) > 1 and width == len(names) + 1 and share >= _MOST
    return is_wider and not any(row[-1] for row in rows if len(row) == width)


def _other_width(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Check whether most rows of a CSV file are not as wide as its header, so that a run would reject them."""
    width, share = _usual([len(row) for row in rows if row])
    if len(names) == 1 or width == len(names) or share < _MOST:
        return ""
    ends = trailing_delimiter(names, rows)
    advice = "the lines below end with a delimiter: end the header with one" if ends else "correct the header"
    return (
        f"the header has {counted(len(names), 'column')}, but most rows have {width}, and a run rejects "
        f"those as malformed: {advice}"
    )


def controls(rows: Iterable[Sequence[str]], encoding: str) -> list[str]:
    """Return a warning if Latin-1 makes control characters of text in cp1252, such as the euro sign."""
    if codecs.lookup(encoding).name not in ("iso8859-1", "iso8859-15"):
        return []
    value = next((value for row in rows for value in row if _CONTROL.search(value)), "")
    try:
        western = value.encode(encoding).decode("cp1252")
    except UnicodeDecodeError:
        return []
    warning = (
        f"in {encoding} a value is {value!r}, in cp1252 it is {western!r}: set its encoding, such as cp1252"
    )
    return [warning] if value else []


def _usual(widths: Sequence[int]) -> tuple[int, float]:
    """Return the most frequent width and its share."""
    ((width, count),) = Counter(widths).most_common(1) or [(0, 0)]
    return width, count / max(len(widths), 1)
