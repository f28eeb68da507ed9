"""Which SQL a flow may hold, what it reads, what can throw, and what is said of a mistake in it."""

from collections.abc import Iterator
from typing import Any, cast

import duckdb
import pytest
from local.flows import people
from local.one_run import compiled

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.compiler.expressions import _TOTAL, _USUAL, Judge
from lume_local._worker.connection import connect


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def judge(connection: duckdb.DuckDBPyConnection) -> Judge:
    return Judge(connection)


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ('"Customer ID"', ["Customer ID"]),
        ('lower(trim("Email")) || b', ["Email", "b"]),
        ("1", []),
        ("list_filter([a], lambda x: x <> b)", ["a", "b"]),
        ("list_transform([1], x -> x + 1)", []),
        ("a -> '$.b'", ["a"]),
        ("a ->> 'b'", ["a"]),
        ("a[1]", ["a"]),
        ("CASE WHEN a THEN b ELSE c END", ["a", "b", "c"]),
        ("CAST(a AS DATE) - INTERVAL 1 DAY", ["a"]),
        ("a -- a comment", ["a"]),
        ("a /* ) */", ["a"]),
        ("';'", []),
        ("a IN ('x', b)", ["a", "b"]),
        ("Age + 1", ["Age"]),
        ('"user"', ["user"]),
    ],
)
def test_what_an_expression_reads(judge: Judge, sql: str, reads: list[str]) -> None:
    assert list(judge.expression("here", sql).reads) == reads


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("", "not an SQL expression"),
        ("a +", "not an SQL expression"),
        ("a; SELECT 1", "not an SQL expression"),
        ("1) AS x, (2", "not an SQL expression"),
        ("1) FROM t WHERE (true", "not an SQL expression"),
        ("a /* open", "not an SQL expression"),
        ("(SELECT 1)", "a subquery"),
        ("EXISTS (SELECT 1)", "a subquery"),
        ("a IN (SELECT 1)", "a subquery"),
        ("sum(a) OVER ()", "a window function"),
        ("sum(a)", "the aggregate sum"),
        ("*", "star"),
        ("COLUMNS('a')", "star"),
        ("?", "a parameter"),
        ("random()", "same output"),
        ("now()", "same output"),
        ("uuid()", "same output"),
        ("nextval('s')", "same output"),
        ("getvariable('x')", "same output"),
        ("current_setting('memory_limit')", "same output"),
        ("current_date", "same output"),
        ("age(a)", "same output"),
        ("pg_typeof(a)", "pg_typeof"),
        ("read_text('/etc/passwd')", "read_text"),
        ("_lume_s0", "are reserved for the engine"),
    ],
)
def test_what_an_expression_may_not_be(judge: Judge, sql: str, words: str) -> None:
    with pytest.raises(FlowError) as caught:
        judge.expression("columns.a.sql", sql)
    assert caught.value.place == "columns.a.sql"
    assert words in caught.value.problem


@pytest.mark.parametrize(
    "sql", ["a", "lower(trim(a))", "nullif(upper(a), '')", "CASE WHEN a = 'x' THEN b END", "a || 'x'"]
)
def test_total_expressions_are_not_wrapped(judge: Judge, sql: str) -> None:
    assert not judge.expression("", sql).can_throw


@pytest.mark.parametrize(
    "sql",
    [
        "CAST(a AS INT)",
        "strptime(a, '%Y')",
        "a > 5",
        "a + 1",
        "CASE WHEN a THEN 1 END",
        "length(a)",
        "concat(a, 1)",
    ],
)
def test_all_others_are(judge: Judge, sql: str) -> None:
    assert judge.expression("", sql).can_throw


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"columns": {"a": {"sql": "lowr(b)"}}}, "columns.a.sql", "lowr"),
        ({"columns": {"a": {"sql": "strptime(b, '%Q')"}}}, "columns.a.sql", "%Q"),
        ({"columns": {"a": {"pattern": "("}}}, "columns.a.pattern", ")"),
        ({"columns": {"a": {"format": "date", "minimum": "soon"}}}, "columns.a.minimum", "soon"),
        ({"columns": {"a": {"format": "date", "enum": ["soon"]}}}, "columns.a.enum", "soon"),
        ({"columns": {"a": {"type": "integer", "enum": [2**70]}}}, "columns.a.enum", "64 bits"),
        (
            {"columns": {"a": {"format": "date", "minimum": "2024-12-31", "maximum": "2024-01-01"}}},
            "columns.a.minimum",
            "no value is within minimum = 2024-12-31 and maximum = 2024-01-01",
        ),
        (
            {
                "columns": {
                    "a": {
                        "format": "date-time",
                        "exclusiveMinimum": "2024-01-01T02:00:00+02:00",
                        "maximum": "2024-01-01T00:00:00Z",
                    }
                }
            },
            "columns.a.exclusiveMinimum",
            "no value is within",
        ),
        ({"rules": [{"name": "r", "sql": '"ID2" > 1'}]}, "rules[0].sql", "target's columns only: id"),
        ({"rules": [{"name": "r", "sql": "id + 1"}]}, "rules[0].sql", "true or false"),
        ({"rules": [{"name": "r", "sql": "id >"}]}, "rules[0].sql", "not an SQL expression"),
        ({"rules": [{"name": "r", "sql": "count(id) > 1"}]}, "rules[0].sql", "aggregate"),
    ],
)
def test_flows_that_do_not_compile(
    connection: duckdb.DuckDBPyConnection, changes: dict[str, object], place: str, words: str
) -> None:
    with pytest.raises(FlowError) as caught:
        compile_flow(connection, read_definition(people(**changes)))
    assert (caught.value.place, words in caught.value.problem) == (place, True), caught.value


def test_limits_of_times_in_any_spelling(connection: duckdb.DuckDBPyConnection) -> None:
    at = {"format": "date-time", "minimum": "2024-01-01T02:00:00+02:00", "maximum": "2024-01-01T00:00:00Z"}
    compile_flow(connection, read_definition(people(columns={"a": at})))


class Counting:
    """A connection that counts the statements and the characters of what it is asked."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection, self.statements, self.characters = connection, 0, 0

    def execute(self, sql: str, parameters: Any = None) -> duckdb.DuckDBPyConnection:
        self.statements += 1
        self.characters += len(sql) + len(str(parameters))
        return self._connection.execute(sql, parameters)


@pytest.mark.parametrize(
    "column",
    [
        {"minLength": 1},
        {"type": "number", "minimum": 0, "maximum": 9, "enum": [1, 2, 3]},
        {"sql": "try_cast(a AS INTEGER) + 1", "type": "integer"},
        {"from": ["x%d"], "sql": "lower(value)", "pattern": "^a"},
    ],
)
def test_a_hundred_columns_are_asked_about_at_once(column: dict[str, Any]) -> None:
    columns = {f"column_{n}": column | ({"from": [f"x{n}"]} if "from" in column else {}) for n in range(300)}
    with connect() as connection:
        counting = Counting(connection)
        compile_flow(cast("duckdb.DuckDBPyConnection", counting), read_definition(people(columns=columns)))
    renamed = 600 if "from" in column else 0  # expressions that are written anew
    limits = -(-300 * (5 if "enum" in column else 1) // 100)
    assert counting.statements <= 1 + 3 + limits + 1 + renamed


def test_of_hundreds_of_columns_the_one_with_a_mistake_is_named(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    good = {f"column_{n}": {"enum": ["a"]} for n in range(150)}
    for bad, place, words in (
        ({"sql": "abs(a || b)"}, "columns.bad.sql", "abs"),
        ({"sql": "a +"}, "columns.bad.sql", "not an SQL expression"),
        ({"format": "date", "enum": ["2024-01-01", "soon"]}, "columns.bad.enum", "soon"),
    ):
        with pytest.raises(FlowError) as caught:
            compile_flow(connection, read_definition(people(columns={**good, "bad": bad, "after": {}})))
        assert (caught.value.place, words in caught.value.problem) == (place, True), caught.value


@pytest.mark.skipif(duckdb.__version__ < "2", reason="this version has no such optimizer")
def test_an_optimizer_that_takes_time_with_the_square_of_the_columns_is_off(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    ((known, off),) = connection.execute(
        "SELECT (SELECT list(name) FROM duckdb_optimizers()), current_setting('disabled_optimizers')"
    ).fetchall()
    assert set(off.split(",")) == {"in_clause", "projection_placement"} <= set(known)


@pytest.mark.thorough
def test_a_check_grows_with_the_columns_and_not_with_their_square() -> None:
    def asked(columns: int) -> int:
        definition = people(
            columns={f"column_{n}": {"minLength": 1} for n in range(columns)},
            rules=[{"name": f"r{n}", "sql": f"column_{n} <> 'x'"} for n in range(columns)],
            expect=[{"name": f"e{n}", "sql": f"count(column_{n}) >= 0"} for n in range(columns)],
        )
        with connect() as connection:
            counting = Counting(connection)
            compile_flow(cast("duckdb.DuckDBPyConnection", counting), read_definition(definition))
            return counting.characters

    assert asked(80) < 2.5 * asked(40)


def mistake(sql: str) -> str:
    with pytest.raises(FlowError) as refused:
        compiled(columns={"x": {"sql": sql}})
    return str(refused.value)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("parse_email(E-Mail)", "E-Mail"),
        ("lower(Kunden-Nr-alt)", "Kunden-Nr-alt"),
        ("lower(First Name)", "First Name"),
        ("trim(Str.Nr)", "Str.Nr"),
    ],
)
def test_a_name_without_its_quotes(sql: str, name: str) -> None:
    said = mistake(sql)
    assert said.endswith(f'names with spaces or signs need double quotes: "{name}"')
    assert len(said) < 250


@pytest.mark.parametrize("sql", ["lower('E-Mail' - \"E-Mail\")", "lower(a or or b)"])
def test_no_name_is_made_up(sql: str) -> None:
    assert "double quotes" not in mistake(sql)


@pytest.mark.parametrize(
    ("called", "meant"),
    [("parse_mail", "parse_email"), ("parse_date", "parse_date_any"), ("to_money", "parse_money")],
)
def test_the_own_cleaners_are_suggested_first(called: str, meant: str) -> None:
    assert f'{called} is not a function; did you mean the cleaner "{meant}"?' in mistake(f'{called}("x")')


@pytest.mark.parametrize("sql", ["nope(", "lower(a", "CASE WHEN a", "a || '"])
def test_no_bracket_is_named_but_those_of_the_flow(sql: str) -> None:
    said = mistake(sql)
    assert "is not an SQL expression: " in said
    assert "]" not in said
    assert '")"' not in said


@pytest.mark.parametrize("sql", ["id, v", "id, v -- both", "1, 2, 3"])
def test_several_expressions_are_not_one(sql: str) -> None:
    assert "must be one expression" in mistake(sql)


def test_what_can_not_be_run_is_named_with_its_column() -> None:
    assert mistake("regexp_replace(\"a\", '(', '')").startswith("columns.x.sql: can't be run: ")


def test_other_functions_as_duckdb_suggests_them() -> None:
    assert 'Did you mean "lower"?' in mistake('lowr("x")')


def test_the_overloads_of_a_function_are_not_listed() -> None:
    assert "Candidate" not in mistake('year("x")')


def test_functions_that_are_not_looked_up_see_one_row(connection: duckdb.DuckDBPyConnection) -> None:
    known = sorted(_TOTAL.difference({"coalesce"}) | _USUAL)  # an operator
    found = connection.execute(
        "SELECT function_name, function_type, stability FROM duckdb_functions() "
        "WHERE internal AND list_contains(?, function_name)",
        [known],
    ).fetchall()
    assert sorted({name for name, *_ in found}) == known
    assert {kind for name, kind, _ in found if name != "nullif"} == {"scalar"}
    assert "VOLATILE" not in {stability for *_, stability in found}
