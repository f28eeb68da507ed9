"""Judges one SQL expression of a flow with DuckDB's own parser: which columns it reads, whether it can throw, when a
cleaner in it can't read its value (`Unread`), and the likely correction of a mistake (`explained`).

The parser's tree differs between DuckDB versions, so it is walked generically: by the `class` of a node, not by the
place where a version keeps its children.
"""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import duckdb
from attrs import define, evolve, field, frozen
from duckdb import DuckDBPyConnection

from lume_local._flow.cleaners import CLEANERS
from lume_local._flow.definition import RESERVED, quoted
from lume_local._flow.fields import FlowError
from lume_local._worker.cleaners.library import regions
from lume_local._worker.compiler.tree import (
    LAMBDA_TAKERS,
    Lookups,
    classed,
    is_text,
    node_sql,
    parsed,
    refs,
    rename_ref,
    text_of,
    trees,
)

_ALLOWED = frozenset(
    {
        *("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT"),
        *("FUNCTION", "LAMBDA", "OPERATOR", "TYPE"),
    }
)
_REFUSED = {
    "SUBQUERY": "a subquery: an expression sees one row at a time",
    "WINDOW": "a window function: an expression sees one row at a time",
    "STAR": "a star: name the columns",
    "PARAMETER": "a parameter: there is nothing to bind it to",
}
_MACROS = ("list_", "array_", "map_contains", "json", "md5_number")
_PLAIN_MACROS = frozenset({"nullif", "if", "split_part", "date_add", "days_in_month", "fdiv", "fmod"})
_UNSTEADY = frozenset(
    {
        *("age", "ago", "current_connection_id", "current_database", "current_date", "current_localtime"),
        *("current_localtimestamp", "current_query", "current_query_id", "current_schema", "current_schemas"),
        *("current_setting", "current_time", "current_timestamp", "current_transaction_id", "currval"),
        *("error", "gen_random_uuid", "get_current_time", "get_current_timestamp", "getvariable"),
        *(
            "localtime",
            "localtimestamp",
            "nextval",
            "now",
            "random",
            "setseed",
            "setval",
            "sleep_ms",
            "stats",
            "today",
        ),
        *("transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7", "vector_type", "version"),
        "write_log",
    }
)
"""Functions with side effects, or whose result depends on more than their arguments."""
CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Functions without parentheses, which the parser takes for columns."""
_TOTAL = frozenset(
    {
        *("lower", "upper", "trim", "ltrim", "rtrim", "replace", "concat", "concat_ws", "||", "nullif"),
        *("coalesce", "reverse", "strip_accents", "contains", "starts_with", "ends_with", "prefix", "suffix"),
        *("~~", "!~~", "~~*", "!~~*"),
        *("regexp_matches", "regexp_full_match", "regexp_replace", "regexp_extract"),
    }
)
"""String functions that can't fail, whatever the row holds (a bad pattern fails at once, on every row)."""
_USUAL = frozenset(
    {"strptime", "try_strptime", "strftime", "substring", "round", "abs", "list_value", *"-+*/"}
)
"""Other functions that only see the values of one row. Listing DuckDB's functions takes 15 ms."""
_PASSING = ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE")
_LISTED, _IN_BRACKETS = "SELECT [\n{}\n]", "SELECT (\n{}\n)"
_ONE = 'must be one expression, such as lower(trim("Email"))'


@frozen
class Expression:
    """An accepted expression.

    Attributes:
        unread: a condition such as "a cleaner in it can't read its value"; None if there is none.
        filled: for a lone cleaner or strptime: whether it has a value to read, so that NULL means "can't".
        problem: describes a value that a cleaner can't read.
        lookups: the numbers of its lookups in seeds.
        shape: equal for expressions that differ only in the names of the columns that they read.
    """

    sql: str
    reads: tuple[str, ...]
    can_throw: bool
    unread: str | None = None
    filled: str | None = None
    problem: str = ""
    lookups: tuple[int, ...] = ()
    shape: str = ""

    def tried(self, value: str) -> str:
        """Return SQL for `value`, or for NULL if the expression throws or a cleaner can't read its value."""
        tried = f"TRY({value})"
        return tried if self.unread is None else f"CASE WHEN {self.unread} THEN NULL ELSE {tried} END"


_MARK = "\x01"
"""The beginning of a name that no flow can contain."""
_NAME = re.compile(r"""'[^']*'|"((?:[^"]|"")+)\"""")
"""A string, or a quoted name."""


class _Shape(NamedTuple):
    """An expression with marks in place of quoted names, which are kept by their marks."""

    sql: str
    names: dict[str, str]

    @classmethod
    def of(cls, sql: str) -> "_Shape":
        marks: dict[str, str] = {}

        def marked(found: re.Match[str]) -> str:
            if found[1] is None:
                return found[0]
            return quoted(marks.setdefault(found[1].replace('""', '"'), f"{_MARK}{len(marks)}"))

        return cls(_NAME.sub(marked, sql), {mark: name for name, mark in marks.items()})

    def named(self, expression: Expression) -> Expression:
        """Return the expression of this shape with the names."""
        reads = tuple(dict.fromkeys(self.names.get(name, name) for name in expression.reads))
        unread, filled = (one and self._named(one) for one in (expression.unread, expression.filled))
        return evolve(expression, sql=self._named(expression.sql), reads=reads, unread=unread, filled=filled)

    def _named(self, sql: str) -> str:
        for mark, name in self.names.items():
            sql = sql.replace(quoted(mark), quoted(name))
        return sql


@define(eq=False, repr=False)
class Judge:
    """Judges expressions with one DuckDB connection; `of_all_rows` allows aggregates, `lookups` seeds."""

    _connection: DuckDBPyConnection
    _of_all_rows: bool = field(default=False, kw_only=True, alias="of_all_rows")
    _lookups: Lookups | None = field(default=None, kw_only=True, alias="lookups")
    _ahead: dict[str, str] = field(factory=dict, init=False)
    _known: dict[tuple[str, str | None], Expression] = field(factory=dict, init=False)
    _of_shapes: dict[tuple[str, str | None], Expression | None] = field(factory=dict, init=False)
    """Layouts differ in names, and to judge an expression costs a hundred times as much as to name it."""

    def read_ahead(self, expressions: Iterable[str]) -> None:
        """Parse expressions that will be judged, in one statement: it costs as much as each of them."""
        shapes = dict.fromkeys(self._shape(sql).sql for sql in expressions)
        statements = [form.format(sql) for sql in shapes for form in (_LISTED, _IN_BRACKETS)]
        self._ahead.update(zip(statements, trees(self._connection, statements), strict=True))

    def expression(self, place: str, sql: str, value: str | None = None) -> Expression:
        """Judge an expression. Raises `FlowError` at `place` if it isn't one plain expression over a row.

        Args:
            value: the column that `value` stands for, if it has aliases.
        """
        shape = self._shape(sql)
        if found := self._of_shape(place, shape, value):
            for name in shape.names.values():
                self._column(place, name, frozenset(), {})
            return shape.named(found)
        if (sql, value) not in self._known:
            self._known[sql, value] = self._judged(place, sql, value)
        return self._known[sql, value]

    def _shape(self, sql: str) -> "_Shape":
        """Return the shape of an expression; one that may look up a seed has no other, as its key has the names."""
        may_look_up = self._lookups is not None and "seed" in sql.lower()
        return _Shape(sql, {}) if may_look_up else _Shape.of(sql)

    def _of_shape(self, place: str, shape: "_Shape", value: str | None) -> Expression | None:
        """Return the expression with marks for names; None if it has no names, or names that are not just columns."""
        meant = {"value", value.lower()} if value else set()
        if not shape.names or not meant.isdisjoint(map(str.lower, shape.names.values())):
            return None
        key = shape.sql, value
        if key not in self._of_shapes:
            try:
                tree = self._only_expression(
                    place, self._parse(place, _IN_BRACKETS.format(shape.sql), shape.sql)
                )
                marks = [name for ref in refs(tree) for name in ref if name in shape.names]
                is_plain = len(marks) == json.dumps(tree).count(json.dumps(_MARK)[1:-1])
                is_plain = is_plain and set(marks) == set(shape.names)
                self._of_shapes[key] = self._judged(place, shape.sql, value) if is_plain else None
            except FlowError:  # its message must have the names
                self._of_shapes[key] = None
        return self._of_shapes[key]

    def _judged(self, place: str, sql: str, value: str | None) -> Expression:
        shape = f"{value or ''}\n{sql}"
        if not sql.strip():
            raise FlowError(place, "is not an SQL expression: it is empty")
        # Parsed twice: in brackets, text that closes the parenthesis early and opens another one is a syntax error.
        listed = self._only_expression(place, self._parse(place, _LISTED.format(sql), sql))
        if len(list(classed(listed))) != 1:
            raise FlowError(place, f"{_ONE}: a comma separates several")
        tree = self._only_expression(place, self._parse(place, _IN_BRACKETS.format(sql), sql))
        if value is not None and rename_ref(tree, "value", value):
            sql = node_sql(self._connection, tree)
        seen: dict[str, None] = {}
        used, names = self._lookups.replace(place, tree) if self._lookups else ([], set())
        self._walk(place, tree, frozenset(names), seen)
        if value is not None and value.lower() != "value" and "value" in map(str.lower, seen):
            raise FlowError(place, f"reads value where a lambda has a parameter {value!r}: rename that")
        cleaners = Unread(self._connection, place)
        unread = cleaners.condition(tree)
        filled = cleaners.filled(tree) if not used and unread is not None and _is_total(tree) else None
        if used:
            for lookup in used:
                seen.update(dict.fromkeys(self.expression(place, lookup.key).reads))
            sql = node_sql(self._connection, tree)
            lost = " OR ".join(dict.fromkeys(f"{lookup.key_name} IS NULL" for lookup in used))
            unread = f"({lost} OR {unread})" if unread else f"({lost})"
        elif unread is None and (parts := _date_of_text(tree)):
            # With a few invalid dates among many, TRY costs four times as much; the results are the same.
            text, formats = (node_sql(self._connection, part) for part in parts)
            sql, filled = f"try_strptime({text}, {formats})", f"{text} IS NOT NULL"
            unread = f"({sql} IS NULL AND {filled})"
        can_throw = unread is not None or not _is_total(tree)
        looked_up = tuple(dict.fromkeys(lookup.number for lookup in used))
        return Expression(sql, tuple(seen), can_throw, unread, filled, cleaners.problem, looked_up, shape)

    def _parse(self, place: str, statement: str, sql: str) -> dict[str, Any]:
        ahead = self._ahead.get(statement)
        tree = parsed(self._connection, statement) if ahead is None else json.loads(ahead)
        if not tree["error"]:
            return tree
        alone = parsed(self._connection, f"SELECT {sql}")  # its message mentions only the flow's own text
        if alone["error"]:
            raise FlowError(place, f"is not an SQL expression: {explained(sql, alone['error_message'])}")
        raise FlowError(place, f"is not an SQL expression: it {_ONE}")

    def _only_expression(self, place: str, tree: dict[str, Any]) -> Any:
        statements = tree["statements"]
        node = statements[0]["node"]
        if (
            len(statements) != 1
            or node["type"] != "SELECT_NODE"
            or len(node["select_list"]) != 1
            or (node.get("from_table") or {}).get("type") != "EMPTY"
            or any(
                node.get(key)
                for key in ("where_clause", "modifiers", "group_expressions", "having", "qualify")
            )
        ):
            raise FlowError(place, _ONE)
        return node["select_list"][0]

    def _walk(self, place: str, node: Any, bound: frozenset[str], reads: dict[str, None]) -> None:
        """Refuse what isn't allowed; collect the columns that are read, except lambda parameters."""
        kind = node["class"]
        if kind not in _ALLOWED:
            raise FlowError(place, f"contains {_REFUSED.get(kind, 'something other than an expression')}")
        if kind == "COLUMN_REF":
            self._column(place, node["column_names"][0], bound, reads)
            return
        takes_lambda = False
        if kind == "FUNCTION":
            self._function(place, node["function_name"].lower())
            takes_lambda = node["function_name"].lower().startswith(LAMBDA_TAKERS)
        for child in classed(node):
            if takes_lambda and child["class"] == "LAMBDA":
                parameters = {name for ref in refs(child["lhs"]) for name in ref}
                self._walk(place, child["expr"], bound | parameters, reads)
            else:
                self._walk(place, child, bound, reads)

    def _column(self, place: str, name: str, bound: frozenset[str], reads: dict[str, None]) -> None:
        if name in bound:
            return
        if name.lower() in CLOCKS:
            raise FlowError(
                place, f"reads {name}: a flow version must give the same output for the same input"
            )
        if name.lower().startswith(RESERVED):
            raise FlowError(
                place, f"reads {name}: names that begin with {RESERVED} are reserved for the engine"
            )
        reads[name] = None

    def _function(self, place: str, name: str) -> None:
        if name == "seed":
            raise FlowError(place, "calls seed: only columns of a flow with [seeds.<name>] can do that")
        if name.startswith(RESERVED):
            raise FlowError(
                place, f"calls {name}: names that begin with {RESERVED} are reserved for the engine"
            )
        if name in _TOTAL or name in _USUAL or name in CLEANERS:  # in most flows, so none need be listed
            return
        kinds = _kinds_of_functions(self._connection).get(name, {"scalar"})
        if name in _UNSTEADY or "volatile" in kinds:
            raise FlowError(
                place, f"calls {name}: a flow version must give the same output for the same input"
            )
        if "aggregate" in kinds and self._of_all_rows:
            return
        if "aggregate" in kinds and "scalar" not in kinds:
            raise FlowError(place, f"calls the aggregate {name}: an expression sees one row at a time")
        usual = name in _PLAIN_MACROS or name.startswith(_MACROS)
        if not kinds & {"scalar", "macro"} or (kinds == {"macro"} and not usual):
            raise FlowError(place, f"calls {name}: it is not a function of one row's values")


_kinds: dict[str, set[str]] = {}


def _kinds_of_functions(connection: DuckDBPyConnection) -> dict[str, set[str]]:
    """Return the kinds of DuckDB's functions, cached: listing them takes as long as judging several expressions."""
    if not _kinds:
        for name, kind in connection.execute(
            "SELECT DISTINCT function_name, "
            "CASE WHEN stability = 'VOLATILE' THEN 'volatile' ELSE function_type END "
            "FROM duckdb_functions() WHERE internal"
        ).fetchall():
            _kinds.setdefault(name, set()).add(kind)
    return _kinds


def _date_of_text(node: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the value and the formats of a call of strptime, if nothing else in it can throw."""
    if node["class"] != "FUNCTION" or node["function_name"].lower() != "strptime":
        return None
    arguments = list(classed(node))
    if len(arguments) != 2 or not _is_total(arguments[0]):
        return None
    value, formats = arguments
    each = [formats] if formats["class"] == "CONSTANT" else list(classed(formats))
    return (value, formats) if each and all(text_of(one) is not None for one in each) else None


def _is_total(node: dict[str, Any]) -> bool:
    """Return whether no row of strings can make the expression throw: it has only total functions and choices.

    When unsure, return False: the expression is then wrapped, which costs nothing if it doesn't throw.
    """
    kind = node["class"]
    if kind == "COLUMN_REF":
        return len(node["column_names"]) == 1
    if kind == "CONSTANT":
        return is_text(node)
    if kind == "FUNCTION":
        name = node["function_name"].lower()
        return (name in _TOTAL or name in CLEANERS) and all(map(_is_total, classed(node)))
    if kind == "OPERATOR" and node["type"] == "OPERATOR_TRY":
        return True
    passes_on = kind == "OPERATOR" and node["type"] in _PASSING
    if passes_on or kind in ("CASE", "COMPARISON", "CONJUNCTION", "BETWEEN"):
        return all(map(_is_total, classed(node)))
    return False


class Unread:
    """Finds the condition under which a cleaner in the expression at `place` can't read its value.

    A cleaner returns NULL for a blank value and for an unreadable one. Only the second is a reject, unless `TRY(…)`
    around the call accepts NULL. Throwing would also separate the two, but DuckDB then evaluates its whole chunk
    again, row by row.
    """

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
            if (own := self.condition(item)) is not None:
                found = _or(found, f"({' AND '.join([*before, own])})")
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


_UNKNOWN = re.compile(r"Function with name \"?(\w+)\"? does not exist")
_MINUS = "'-(VARCHAR, VARCHAR)'"
_DOT = re.compile(r"Cannot extract field '([^']+)' from expression \"([^\"]+)\"")
_NEAR = re.compile(r'syntax error at or near "(\w+)"')
_QUOTED = re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'")
_WITH_MINUS = re.compile(r"[^\W\d]\w*(?:-\w+)+")
_WORDS = frozenset(
    {
        *("and", "as", "between", "case", "collate", "else", "end", "from", "ilike", "in", "is", "like"),
        *("not", "null", "or", "select", "then", "when"),
    }
)


def first_line(error: duckdb.Error) -> str:
    """Return DuckDB's message without its excerpt of the (wrapped) statement and its list of overloads."""
    return re.split(r"\n\n|\n\s*Candidate ", str(error), maxsplit=1)[0].replace("\n", " ").strip()


def explained(sql: str, said: str) -> str:
    """Return a message about an expression, with the correction if it can be guessed."""
    if found := _UNKNOWN.search(said):
        near = difflib.get_close_matches(found[1].lower(), CLEANERS, 1, 0.6)
        return f'{found[1]} is not a function; did you mean the cleaner "{near[0]}"?' if near else said
    name = _unquoted(_QUOTED.sub("''", sql), said)
    return f'{said}: names with spaces or signs need double quotes: "{name}"' if name else said


def _unquoted(sql: str, said: str) -> str | None:
    if _MINUS in said and (found := _WITH_MINUS.search(sql)):
        return found[0]
    if found := _DOT.search(said):
        return f"{found[2]}.{found[1]}"
    if near := _NEAR.search(said):
        pair = re.search(rf"([^\W\d]\w*) +{re.escape(near[1])}\b", sql)
        if pair and not {pair[1].lower(), near[1].lower()} & _WORDS:
            return pair[0]
    return None
