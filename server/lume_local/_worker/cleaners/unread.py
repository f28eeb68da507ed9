"""The condition under which a cleaner in an expression can't read its value, derived from the parser's tree.

A cleaner returns NULL for a blank value and for an unreadable one. Only the second is a reject, unless `TRY(…)`
around the call accepts NULL. Throwing would also separate the two, but DuckDB then evaluates its whole chunk again,
row by row.
"""

from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._flow.cleaners import CLEANERS
from lume_local._flow.fields import FlowError
from lume_local._worker.cleaners.library import regions
from lume_local._worker.compiler.tree import classed, node_sql, text_of


class Unread:
    """Finds the condition of the expression at `place`."""

    def __init__(self, connection: DuckDBPyConnection, place: str) -> None:
        self._connection = connection
        self._place = place
        self.problem = ""
        """The problem with an unreadable value, as the outermost cleaner that counts describes it."""

    def filled(self, node: dict[str, Any]) -> str | None:
        """Return SQL for whether a lone cleaner has a value to read, so that NULL means unread; None for others."""
        if node["class"] != "FUNCTION" or node["function_name"].lower() not in CLEANERS:
            return None
        arguments = list(classed(node))
        if not CLEANERS[node["function_name"].lower()].problem or self._any(arguments) is not None:
            return None
        return f"_lume_text({self._sql(arguments[0])}) IS NOT NULL"

    def condition(self, node: dict[str, Any]) -> str | None:
        """Return SQL that is true if a cleaner that counts can't read its value; None if there is no such cleaner."""
        kind = node["class"]
        if kind == "FUNCTION" and node["function_name"].lower() in CLEANERS:
            return self._of_cleaner(node, node["function_name"].lower())
        if kind == "OPERATOR" and node["type"] == "OPERATOR_TRY":
            return None
        if kind == "OPERATOR" and node["type"] == "OPERATOR_COALESCE":
            return self._of_coalesce(list(classed(node)))
        if kind == "CASE":
            return self._of_case(node)
        found = self._any(classed(node))
        if kind == "LAMBDA" and found:
            raise FlowError(
                self._place,
                "calls a cleaner for each item of a list: write TRY(…) around the call, which gives NULL for an item "
                "that can't be read",
            )
        return found

    def _of_cleaner(self, node: dict[str, Any], name: str) -> str | None:
        arguments = list(classed(node))
        self._check_choice(name, arguments[1:])
        self.problem = self.problem or (
            CLEANERS[name].problem if arguments[1:] else CLEANERS[name].doubtful_problem
        )
        inner = self._any(arguments)
        if not CLEANERS[name].problem or not arguments:
            return inner
        own = f"({self._sql(node)} IS NULL AND _lume_text({self._sql(arguments[0])}) IS NOT NULL)"
        return _or(inner, own)

    def _check_choice(self, name: str, rest: list[dict[str, Any]]) -> None:
        """Refuse a misspelt choice, which would make every row a reject."""
        given = text_of(rest[0]) if rest else None
        if given is None:
            return
        if name == "parse_phone" and given.upper() not in regions():
            raise FlowError(
                self._place, f"{given!r} is not a country of parse_phone: write its code, such as 'DE'"
            )
        choices = CLEANERS[name].choices
        if choices and given not in choices:
            raise FlowError(
                self._place, f"{given!r} is not valid for {name}: write {' or '.join(map(repr, choices))}"
            )

    def _of_coalesce(self, items: list[dict[str, Any]]) -> str | None:
        """Return the condition of a COALESCE: an item counts if the previous ones are NULL."""
        found: str | None = None
        before: list[str] = []
        for item in items:
            found = _or(found, _and(before, self.condition(item)))
            before.append(f"{self._sql(item)} IS NULL")
        return found

    def _of_case(self, node: dict[str, Any]) -> str | None:
        """Return the condition of a CASE: a branch counts if it is chosen."""
        asked = self._any(check["when_expr"] for check in node["case_checks"])
        branches = [(check["when_expr"], self.condition(check["then_expr"])) for check in node["case_checks"]]
        other = self.condition(node["else_expr"]) if node.get("else_expr") else None
        if other is None and all(found is None for _, found in branches):
            return asked
        whens = " ".join(f"WHEN {self._sql(when)} THEN {found or 'false'}" for when, found in branches)
        return _or(asked, f"(CASE {whens} ELSE {other or 'false'} END)")

    def _any(self, nodes: Any) -> str | None:
        found = None
        for node in nodes:
            found = _or(found, self.condition(node))
        return found

    def _sql(self, node: dict[str, Any]) -> str:
        return node_sql(self._connection, node)


def _or(one: str | None, other: str | None) -> str | None:
    return f"({one} OR {other})" if one and other else one or other


def _and(conditions: list[str], last: str | None) -> str | None:
    return None if last is None else f"({' AND '.join([*conditions, last])})"
