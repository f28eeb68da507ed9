"""The cleaners that the expressions of a flow may call, without the SQL that implements them. Pure.

The results of a cleaner are part of each flow version that calls it. A changed result therefore raises the cleaner's
`version` here, which changes the `content_hash` of those flows; a version compiled before keeps its SQL.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Cleaner(NamedTuple):
    """One function.

    Attributes:
        version: raised when any result changes.
        problem: the message for an unreadable value; empty if all values are readable.
        choices: the values of a literal second argument that resolves ambiguity; empty for any.
    """

    version: int = 1
    problem: str = ""
    choices: tuple[str, ...] = ()

    @property
    def doubtful_problem(self) -> str:
        """The message for a value that needs a choice."""
        if not self.choices:
            return self.problem
        return f"{self.problem}, or can mean several: {' or '.join(map(repr, self.choices))} decides"


CLEANERS = {
    "clean_text": Cleaner(),
    "country_code": Cleaner(version=2, problem="is not the name or code of a country"),
    "nullif_missing": Cleaner(),
    "parse_bool": Cleaner(problem="is neither yes nor no"),
    "parse_date_any": Cleaner(
        version=3, problem="is not a date that exists, without a time", choices=("dmy", "mdy")
    ),
    "parse_email": Cleaner(problem="is not an email address"),
    "parse_money": Cleaner(version=2, problem="is not an amount of money", choices=(".", ",")),
    "parse_percent": Cleaner(problem="is not a percentage", choices=(".", ",")),
    "parse_phone": Cleaner(version=2, problem="is not a phone number"),
}
_CALL = re.compile(rf"\b({'|'.join(CLEANERS)})\b", re.IGNORECASE)


def named_in(expressions: Iterable[str]) -> list[str]:
    """Return the cleaners that SQL expressions name, sorted. A name in a string or a comment counts as well."""
    return sorted({found.lower() for sql in expressions for found in _CALL.findall(sql)})
