"""Strict reading of a table of a flow version: every key is known, of its type, and small. Pure."""

import difflib
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from attrs import define, field

from lume_async._base.elided import elided
from lume_async._base.words import of_toml


class FlowError(ValueError):
    """A mistake in a flow version.

    Attributes:
        place: its location, such as `columns.email.pattern`; empty for the file as a whole.
        problem: the mistake, and how to correct it.
        line: the line of the file, if there is a file and the line is known.
        others: further mistakes of the same flow that `check_flow` found.
    """

    def __init__(self, place: str, problem: str) -> None:
        self.place, self.problem = elided(place), elided(problem)
        super().__init__(self.place, self.problem)
        self.line: int | None = None
        self.others: tuple[FlowError, ...] = ()

    def located(self, path: Path) -> str:
        """Return `file:line: place: problem`, without the unknown parts."""
        return f"{path}:{self.line}: {self}" if self.line else f"{path}: {self}"

    def __str__(self) -> str:
        """Return `place: problem`."""
        return f"{self.place}: {self.problem}" if self.place else self.problem


def toml_of(text: str) -> dict[str, Any]:
    """Return the tables of a TOML file. Raises `FlowError`."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except ValueError as error:  # also a number with too many digits
        problem = of_toml(str(error))
    except RecursionError:
        problem = "its values are nested too deeply"
    raise FlowError("", f"is not TOML: {problem}")


_MISSING: Any = object()
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Characters that no text of a flow may contain, not even one of several lines."""


@define
class Table:
    """A table and its place. Each reader notes the key as known; `refuse_unknown` refuses the rest."""

    place: str
    values: dict[str, Any]
    known: set[str] = field(factory=set, init=False)
    below: dict[str, "Table"] = field(factory=dict, init=False)
    """The requested tables within it."""

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def present(self, key: str) -> bool:
        """Return whether the key is present, and note it as known."""
        self.known.add(key)
        return key in self.values

    def _get(self, key: str, kind: type | tuple[type, ...], words: str, default: Any) -> Any:
        if not self.present(key):
            if default is _MISSING:
                raise FlowError(self.at(key), f"is missing: it must be {words}")
            return default
        value = self.values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise FlowError(self.at(key), f"must be {words}, not {value!r}")
        return value

    def text(
        self,
        key: str,
        *,
        default: Any = _MISSING,
        pattern: re.Pattern[str] | None = None,
        longest: int = 200,
    ) -> str:
        """Return a string; if there is no default, it must be present and not empty."""
        value: str = self._get(key, str, "a string", default)
        if default is _MISSING and not value.strip():
            raise FlowError(self.at(key), "is empty")
        if len(value) > longest:
            raise FlowError(self.at(key), f"has {len(value):,} characters; {longest:,} is the most")
        if CONTROL.search(value):
            raise FlowError(self.at(key), "contains a control character")
        if pattern is not None and not pattern.fullmatch(value):
            raise FlowError(self.at(key), f"{value!r} must match {pattern.pattern}")
        return value

    def choice(self, key: str, choices: tuple[str, ...], *, default: Any) -> Any:
        value = self._get(key, str, f"one of {', '.join(choices)}", default)
        if value != default and value not in choices:
            near = difflib.get_close_matches(value, choices, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise FlowError(self.at(key), f"{value!r} is not one of {', '.join(choices)}{hint}")
        return value

    def flag(self, key: str) -> bool:
        return bool(self._get(key, bool, "true or false", False))

    def value(self, key: str) -> Any:
        """Return a required value of any type."""
        return _preserved(self.at(key), self.values[key])

    def number(self, key: str) -> float | None:
        value: float | None = _preserved(self.at(key), self._get(key, (int, float), "a number", None))
        if value is not None and not math.isfinite(value):
            raise FlowError(self.at(key), "must be a finite number")
        return value

    def count(self, key: str, *, default: int = 0, most: int = 2**31 - 1) -> int:
        """Return a whole number, at least 0."""
        value: int = self._get(key, int, "a whole number", default)
        if not 0 <= value <= most:
            raise FlowError(self.at(key), f"must be a whole number from 0 to {most:,}")
        return value

    def scalars(self, key: str) -> list[Any]:
        """Return a list of 1 to 1,000 strings, numbers or booleans; empty if it is missing."""
        if not self.present(key):
            return []
        values = self.values[key]
        if not isinstance(values, list) or not 1 <= len(values) <= 1000:
            raise FlowError(self.at(key), "must be a list of 1 to 1,000 values")
        for value in values:
            _preserved(self.at(key), value)
            if not isinstance(value, str | int | float | bool):
                raise FlowError(self.at(key), f"{value!r} is not a string, a number, true or false")
        return values

    def table(self, key: str) -> "Table":
        self.below[key] = table = Table(self.at(key), self._get(key, dict, "a table", {}))
        return table

    def tables(self, key: str) -> list[dict[str, Any]]:
        entries: list[Any] = self._get(key, list, f"a list of tables: write [[{key}]]", [])
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise FlowError(f"{self.at(key)}[{number}]", f"must be a table: write [[{key}]]")
        return entries

    def refuse_unknown(self) -> None:
        """Refuse keys that nothing has read: a misspelt check must not be silently without effect."""
        unknown = [self._unknown(key) for key in self.values if key not in self.known]
        if unknown:
            unknown[0].others = tuple(unknown[1:])
            raise unknown[0]

    def _unknown(self, key: str) -> FlowError:
        if owner := next((name for name, table in self.below.items() if key in table.known), None):
            return FlowError(self.at(key), f"is a key of {owner}: write {owner} = {{ {key} = … }}")
        near = difflib.get_close_matches(key, self.known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(self.known))}"
        return FlowError(self.at(key), f"is not a known key; {hint}")


def _preserved(place: str, value: Any) -> Any:
    """Return a value that JSON preserves. Raises `FlowError`."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise FlowError(place, "is a number of more than 64 bits: compare with it in the sql of a rule")
    return value
