"""The compiled form of a version with layouts: each is compiled like the version that has only it."""

from typing import Any, cast

import duckdb
import orjson
import pytest
from local.flows import people
from local.worker.test_expressions import Counting

from lume_local._flow.definition import quoted, read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.cleaners.library import statements
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.compiler.expressions import Judge
from lume_local._worker.compiler.layouts import checks_of_all
from lume_local._worker.connection import connect

CONTRACT: dict[str, Any] = {
    "id": {"type": "integer", "required": True, "unique": True},
    "amount": {"type": "number", "sql_type": "DECIMAL(12,2)", "minimum": 0},
    "day": {"format": "date"},
    "country": {"enum": ["Germany", "France"]},
    "kind": {"sql": "lower(kind)"},
    "note": {},
}
SEEDS = {"countries": {"path": "countries.csv", "key": "code"}}
RULES = [{"name": "paid", "sql": "amount > 0 OR note IS NULL"}]
LAYOUTS: dict[str, Any] = {
    "webshop": {
        "columns": {"id": '"Id"', "amount": '"Total"', "day": '"Day"', "note": {"from": ["Note", "Text"]}}
    },
    "mueller": {
        "match": "mueller/*",
        "source": {"csv": {"delim": ";"}, "null": ["-"], "where": "\"Status\" <> 'X'"},
        "columns": {
            "id": {"from": ["Bestell-Nr."]},
            "amount": {"from": {"first": ["Betrag", "Summe"]}, "sql": "parse_money(value, ',')"},
            "day": "parse_date_any(\"Datum\", 'dmy')",
            "country": "seed('countries', upper(\"Land\"), 'name')",
        },
    },
    "objects": {
        "match": ["a/*", "b/*"],
        "source": {"format": "ndjson"},
        "columns": {
            "id": '"order.id"',
            "amount": '"total"',
            "country": "seed('countries', upper(\"Land\"), 'tax')",
            "kind": "seed('countries', \"kind\", 'kind')",
        },
    },
}


def compiled(**changes: Any) -> dict[str, Any]:
    with connect() as connection:
        form: dict[str, Any] = orjson.loads(
            orjson.dumps(compile_flow(connection, read_definition(people(**changes))))
        )
    return form


def whole(**changes: Any) -> dict[str, Any]:
    return compiled(**{"columns": CONTRACT, "seeds": SEEDS, "rules": RULES, "layouts": LAYOUTS} | changes)


def alone(name: str) -> dict[str, Any]:
    """Return the compiled form of the version that reads files as only this layout does, without layouts."""
    layout = LAYOUTS[name]
    columns = {}
    for column, contract in CONTRACT.items():
        how = layout["columns"].get(column, {"sql": contract.get("sql", "NULL")})
        how = {"sql": how} if isinstance(how, str) else how
        columns[column] = {key: value for key, value in contract.items() if key != "sql"} | how
    return compiled(columns=columns, seeds=SEEDS, rules=RULES, source=layout.get("source", {}))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_compiled_like_the_version_that_reads_only_it(name: str) -> None:
    found, expected = whole()["layouts"][name], alone(name)

    for key in (
        "format",
        "csv",
        "null",
        "where",
        "header",
        "excel",
        "encoding",
        "respelled",
        "max_line_bytes",
    ):
        assert found[key] == expected[key], key
    assert list(found["sources"]) == list(expected["sources"])
    assert [_without_numbers(one) for one in found["columns"]] == [
        _without_numbers(one) for one in expected["columns"]
    ]
    assert [one["key"].split(" AS ")[0] for one in found["lookups"]] == [
        one["key"].split(" AS ")[0] for one in expected["lookups"]
    ]
    for column, aliases in expected["aliases"].items():  # a version's have its own name, too
        assert found["aliases"].pop(column) == aliases | {
            "names": [one for one in aliases["names"] if one != column]
        }
    assert found["aliases"] == {}


def _without_numbers(column: dict[str, Any]) -> dict[str, Any]:
    """Return a column without the numbers of its lookups, which all layouts count together."""
    return {
        key: "".join("#" if one.isdigit() else one for one in value) if isinstance(value, str) else value
        for key, value in column.items()
    }


def test_a_layout_has_what_recognises_its_files() -> None:
    layouts = whole()["layouts"]

    assert [one["match"] for one in layouts.values()] == [[], ["mueller/*"], ["a/*", "b/*"]]
    assert [one["required"] for one in layouts.values()] == [["Id"], ["id"], ["order.id"]]
    assert layouts["mueller"]["aliases"] == {
        "id": {"names": ["Bestell-Nr."], "first": False},
        "amount": {"names": ["Betrag", "Summe"], "first": True},
    }
    assert layouts["mueller"]["sources"] == {
        "id": "layouts.mueller.columns.id.from",
        "amount": "layouts.mueller.columns.amount.sql",
        "Datum": "layouts.mueller.columns.day.sql",
        "Land": "layouts.mueller.columns.country.sql",
        "kind": "columns.kind.sql",
        "Status": "layouts.mueller.source.where",
    }


def test_a_check_that_only_some_layouts_have_asks_for_the_layout() -> None:
    form = whole()
    own = [(one["reason"], one["sql"]) for one in form["checks"] if "_lume_layout" in one["sql"]]

    assert [reason for reason, _ in own] == [
        "amount: is not an amount of money",
        "amount: is not a valid DECIMAL(12,2)",
        "amount: is not a valid DECIMAL(12,2)",
        "day: is not a date that exists, without a time",
        "day: is not a valid date",
        "day: is not a valid date",
        "source.where",
    ]
    assert all("(list_contains(['mueller'], _lume_layout) AND (" in sql for _, sql in own if "threw" in sql)


def check(sql: str, reason: str = "") -> dict[str, Any]:
    return {"sql": sql, "reason": reason, "on_fail": "reject"}


def only(sql: str, *names: str) -> str:
    return f"(list_contains([{', '.join(map(repr, names))}], _lume_layout) AND ({sql}))"


@pytest.mark.parametrize(
    ("of_layouts", "merged"),
    [
        ({"a": ["x", "y"], "b": ["x", "y"]}, ["x", "y"]),
        ({"a": ["x", "y"], "b": ["x", "m", "y"]}, ["x", only("m", "b"), "y"]),
        ({"a": ["x", "m", "y"], "b": ["x", "y"]}, ["x", only("m", "a"), "y"]),
        (
            {"a": ["x", "y"], "b": ["v", "x", "y", "w"], "c": ["x", "y", "w"]},
            [only("v", "b"), "x", "y", only("w", "b", "c")],
        ),
        ({"a": ["x"], "b": ["y"], "c": ["x"]}, [only("y", "b"), only("x", "a", "c")]),
        ({"it's": ["x"], "b": []}, ["(list_contains(['it''s'], _lume_layout) AND (x))"]),
        ({"a": ["x", "z"]}, ["x", "z"]),
    ],
)
def test_checks_keep_their_order(of_layouts: dict[str, list[str]], merged: list[str]) -> None:
    found = checks_of_all({name: list(map(check, checks)) for name, checks in of_layouts.items()})
    assert [one["sql"] for one in found] == merged


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"a": {"columns": {"id": '"A'}}}, "layouts.a.columns.id.sql: is not an SQL expression: "),
    ({"a": {"columns": {"id": {"sql": "now()"}}}}, "layouts.a.columns.id.sql: calls now: "),
    ({"a": {"columns": {"id": 'lover("A")'}}}, "layouts.a.columns.id.sql: "),
    (
        {"a": {"columns": {"id": {"from": ["x"], "sql": '"A"'}}}},
        "layouts.a.columns.id.from: has no effect: let sql read value",
    ),
    (
        {"a": {"columns": {"id": {"from": ["x"]}, "name": {"from": ["X"]}}}},
        "layouts.a.columns.name.from: 'X' means column 'id' already: read \"id\" in sql instead",
    ),
    (
        {"a": {"columns": {"id": {"from": ["x"]}, "name": '"X"'}}},
        "layouts.a.columns.name.sql: reads 'X', an alias of column 'id': ",
    ),
    (
        {"a": {"columns": {"id": '"A"'}, "source": {"where": '"A"'}}},
        "layouts.a.source.where: must be a condition (true or false), but is of type VARCHAR",
    ),
    (
        {"a": {"columns": {"id": '"A"'}, "source": {"where": "seed('x', \"A\", 'y')"}}},
        "layouts.a.source.where: calls seed: ",
    ),
    (
        {"a": {"columns": {"id": '"A"'}, "source": {"header": "none", "names": ["B"]}}},
        "layouts.a.source.names: lacks 'A', which layouts.a.columns.id.sql reads",
    ),
    (
        {"a": {"columns": {"id": '"A"'}, "source": {"format": "fixed", "fixed": {"columns": {"B": [1, 2]}}}}},
        "layouts.a.source.fixed.columns: lacks 'A', which layouts.a.columns.id.sql reads",
    ),
    (
        {"a": {"columns": {"id": '"A"'}}, "b": {"columns": {"id": "seed('x', \"B\", 'y')"}}},
        "layouts.b.columns.id.sql: calls seed: ",
    ),
]


@pytest.mark.parametrize(("layouts", "message"), MISTAKES)
def test_mistakes_are_named_with_the_place_in_their_layout(layouts: dict[str, Any], message: str) -> None:
    with pytest.raises(FlowError) as caught:
        compiled(columns={"id": {"type": "integer"}, "name": {}}, layouts=layouts)
    assert str(caught.value).startswith(message)


def test_a_default_has_its_mistake_in_the_contract() -> None:
    columns = {"id": {"sql": "now()"}, "name": {}}
    with pytest.raises(FlowError, match=r"^columns\.id\.sql: calls now"):
        compiled(columns=columns, layouts={"a": {"columns": {"name": '"A"'}}, "b": {}})


def test_a_filter_that_binds_and_does_not_run_is_found_in_every_layout() -> None:
    where = "regexp_replace(\"a\", '(', '') = 'x'"
    with pytest.raises(FlowError) as caught:
        compiled(
            columns={"id": {}}, layouts={"a": {"columns": {"id": '"A"'}}, "b": {"source": {"where": where}}}
        )
    assert str(caught.value).startswith("layouts.b.source.where: can't be run: ")


NAMES = ["a", "B", "x y", 'q"q', "it's", "Größe", "select", "a.b", "rowid"]
SQL = [
    "{0}",
    "parse_money({0}, ',')",
    "{0} || {1}",
    "coalesce(parse_date_any({0}, 'dmy'), parse_date_any({1}, 'mdy'))",
    "CASE WHEN {0} = '{{\"x\"}}' THEN {1} END",
    "list_transform(string_split({0}, ','), lambda x: x || {1})[1]",
    "strptime({0}, '%d.%m.%Y')",
    "{0}::INTEGER + 1",
    "{0} /* {1} */",
    "{0} -- {1}",
    "concat({0}, $$ {1} $$)",
    "e'\\'' || {0} || e'\\''",
]


def test_names_are_all_that_differs_between_expressions_of_one_shape() -> None:
    """Each is judged as in a version of its own, where it is the first of its shape."""
    used = [
        (sql, [quoted(NAMES[(n + m) % len(NAMES)]) for m in (0, 1)]) for sql in SQL for n in range(len(NAMES))
    ]
    written = [sql.format(*names) for sql, names in used]
    with connect() as connection:
        for statement in statements(["parse_money", "parse_date_any"]):
            connection.execute(statement)
        together = Judge(connection)
        together.read_ahead(written)
        for sql in written:
            found, expected = together.expression("x", sql), Judge(connection).expression("x", sql)
            assert found == expected
            row = ", ".join(f"'1,5' AS {quoted(name)}" for name in found.reads)
            for made in (found.sql, found.unread, found.filled):
                if made:  # names what is there
                    connection.execute(f"SELECT TRY((\n{made}\n)) FROM (SELECT {row})").fetchall()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ('"current_date"', "reads current_date"),
        ('"_lume_s0"', "names that begin with _lume_ are reserved"),
        ('"now"()', "calls now"),
    ],
)
def test_names_are_refused_after_others_of_the_same_shape(sql: str, words: str) -> None:
    layouts = {"a": {"columns": {"id": '"A"'}}, "b": {"columns": {"id": sql}}}
    with pytest.raises(FlowError, match=rf"^layouts\.b\.columns\.id\.sql: .*({words})"):
        compiled(columns={"id": {}}, layouts=layouts)


def test_quoted_names_that_are_no_columns_have_no_shape() -> None:
    """Types differ, and so do the values of a struct."""
    layouts = {
        "a": {"columns": {"id": 'CAST("A" AS "DATE")', "name": '{"a": lower("A")}[\'a\']'}},
        "b": {"columns": {"id": 'CAST("B" AS "INTEGER")', "name": '{"b": lower("B")}[\'b\']'}},
    }
    columns = {"id": {"format": "date"}, "name": {}}
    one, other = compiled(columns=columns, layouts=layouts)["layouts"].values()
    value = "struct_extract(_lume_t0, 'v')"
    assert [form["columns"][0]["made"] for form in (one, other)] == [value, f"TRY_CAST({value} AS DATE)"]
    assert (list(one["sources"]), list(other["sources"])) == (["A"], ["B"])


def test_many_layouts_cost_little_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the statements: names are all that differs."""
    counts = []
    for number in (1, 50):
        layouts = {
            f"l{n}": {
                "columns": {"id": f'"Id {n}"', "name": f'parse_email("Mail {n}")', "day": {"from": [f"D{n}"]}}
            }
            for n in range(number)
        }
        flow = read_definition(
            people(columns={"id": {}, "name": {}, "day": {"format": "date"}}, layouts=layouts)
        )
        with connect() as connection:
            counting = Counting(connection)
            compile_flow(cast("duckdb.DuckDBPyConnection", counting), flow)
            counts.append(counting.statements)
    assert counts[1] == counts[0]
