"""Keeps the guesses of a draft that the engine confirms on the sample; the others become comments."""

from collections.abc import Mapping, Sequence
from typing import Any

from lume_local._samples.guess import Guess
from lume_local._samples.infer import Doubt, SampleColumn
from lume_local._samples.opening import JudgedColumn, ReadSample

_AT_ONCE = 200
"""Columns to judge at a time: a flow has at most 2,000, and many take long to compile."""


def judge(sample: ReadSample, source: Mapping[str, Any], columns: Sequence[SampleColumn]) -> None:
    """Decide how each column is read, and whether it is required. Raises `ConfigurationError`."""
    for first in range(0, len(columns), _AT_ONCE):
        some = columns[first : first + _AT_ONCE]
        tried = {
            f"{n}_{m}": (column.source, definition(column, guess) | {"required": True})
            for n, column in enumerate(some)
            for m, guess in enumerate((None, *column.guesses))
        }
        found = sample.judge(source, tried)
        for n, column in enumerate(some):
            as_text, *guessed = (found[f"{n}_{m}"] for m in range(len(column.guesses) + 1))
            _decide(column, as_text, guessed)


def _decide(column: SampleColumn, as_text: JudgedColumn, guessed: Sequence[JudgedColumn]) -> None:
    """Decide one column by the results as a text and with each guess."""
    for guess, one in zip(column.guesses, guessed, strict=True):
        if not one.misfits:
            column.guess, column.required = guess, column.required and not one.missing
            return
    column.guess, column.required = None, column.required and not as_text.missing
    if guessed:
        least = min(range(len(guessed)), key=lambda n: guessed[n].misfits)
        found = guessed[least]
        column.doubt = Doubt(column.guesses[least], found.misfits, found.example or "")


def definition(column: SampleColumn, guess: Guess | None) -> dict[str, str]:
    """Return the flow's `[columns.<name>]`, read by that guess, or as a text."""
    quoted = '"' + column.source.replace('"', '""') + '"'
    plain = f"nullif(trim({quoted}), '')" if column.spaces else quoted
    if guess is None:
        return {"sql": plain, "type": "string"}
    type_, format_, sql_type = guess.kind
    wanted = {
        "sql": guess.sql.format(column=quoted) if guess.sql else plain,
        "type": type_ if type_ != "string" or format_ is None else None,
        "format": format_,
        "sql_type": sql_type,
    }
    return {key: value for key, value in wanted.items() if value is not None}
