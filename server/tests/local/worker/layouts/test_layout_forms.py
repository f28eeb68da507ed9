"""The compiled form of a version with layouts, and those that are refused as they fit each other's files."""

from typing import Any, cast

import duckdb
import pytest
from local.flows import people
from local.one_run import compiled
from local.worker.compiler.test_expressions import Counting

from lume_local._flow.definition import quoted, read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.cleaners.library import statements
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.compiler.expressions import Judge
from lume_local._worker.compiler.layouts import checks_of_all
from lume_local._worker.connection import connect


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


TWO: dict[str, Any] = {"id": {"type": "integer", "required": True}, "amount": {"type": "number"}}
SAME = {"id": '"Id"', "amount": '"Total"'}
DECIMALS = {"id": '"Id"', "amount": "parse_money(\"Total\", ',')"}


def layout(columns: dict[str, Any], match: str = "", **source: Any) -> dict[str, Any]:
    return {"columns": columns, "source": source} | ({"match": match} if match else {})


def accepted(**layouts: Any) -> None:
    compiled(columns=TWO, layouts=layouts)


LATIN = {"encoding": "cp1252"}
TIES: dict[str, tuple[Any, Any]] = {
    "the same": (layout(SAME), layout(SAME)),
    "decimal mark": (layout(SAME), layout(DECIMALS)),
    "decimal mark and encoding": (layout(SAME), layout(DECIMALS, csv=LATIN)),
    "two encodings, neither of them UTF-8": (
        layout(SAME, csv=LATIN),
        layout(SAME, csv={"encoding": "cp437"}),
    ),
    "first and find": (layout(SAME), layout(SAME, header="find")),
    "first and contains": (layout(SAME), layout(SAME, header={"contains": ["Id", "Total"]})),
    "a row and find": (layout(SAME, header={"row": 4}), layout(SAME, header="find")),
    "quote": (layout(SAME), layout(SAME, csv={"quote": "'"})),
    "footer": (layout(SAME), layout(SAME, footer={"rows": 1})),
    "filter": (layout(SAME), layout(SAME, where="\"Id\" <> ''")),
    "case": (layout(SAME), layout({"id": '"ID"', "amount": '"total"'})),
    "other columns": (layout(SAME), layout({"id": '"Total"', "amount": '"Id"'})),
    "one name of several": (layout(SAME), layout({"id": {"from": ["Nr", "id"]}, "amount": '"Total"'})),
    "loose spelling": (layout(SAME), layout({"id": {"from": ["I-D"]}, "amount": '"Total"'})),
    "a name for two": (
        layout({"id": {"from": ["a", "b"]}, "amount": {"from": ["c"]}}),
        layout({"id": {"from": ["c", "b"]}, "amount": {"from": ["a", "x"]}}),
    ),
    "JSON and NDJSON": (layout(SAME, format="json"), layout(SAME, format="ndjson")),
    "XML": (
        layout(SAME, format="xml", xml={"records": "orders/order"}),
        layout(DECIMALS, format="xml", xml={"records": "orders/order"}),
    ),
    "Parquet": (layout(SAME, format="parquet"), layout(DECIMALS, format="parquet")),
    "sheets": (layout(SAME, format="excel"), layout(SAME, format="excel", excel={"sheet": "Orders"})),
    "fixed": (
        layout(SAME, format="fixed", fixed={"widths": [4, 9]}),
        layout(DECIMALS, format="fixed", fixed={"widths": [4, 9]}),
    ),
    "fixed columns by the same header": (
        layout(
            SAME,
            format="fixed",
            fixed={"columns": {"Id": [1, 4], "Total": [5, 9]}},
            header={"contains": ["N"]},
        ),
        layout(
            SAME,
            format="fixed",
            fixed={"columns": {"Id": [1, 4], "Total": [5, 9]}},
            header={"contains": ["n"]},
        ),
    ),
}


@pytest.mark.parametrize("what", TIES)
def test_layouts_that_fit_the_same_files_are_refused(what: str) -> None:
    one, other = TIES[what]
    for first, second in ((one, other), (other, one)):
        with pytest.raises(FlowError) as caught:
            accepted(far=layout({"id": '"Other"'}), a=first, b=second)
        assert caught.value.place == "layouts.b"
        assert caught.value.problem.startswith("fits the same files as layout 'a': both read ")


def test_the_message_says_what_to_do() -> None:
    with pytest.raises(FlowError) as caught:
        accepted(a=layout(SAME), b=layout(DECIMALS))
    assert str(caught.value) == (
        "layouts.b: fits the same files as layout 'a': both read the header 'Id', 'Total'. Write match = \"…\", a "
        "pattern of the paths of its files, in one of them, or let one read a column that only its own files have"
    )
    with pytest.raises(FlowError) as caught:
        accepted(a=layout(SAME, format="json"), b=layout(SAME, format="ndjson"))
    assert "both read objects with 'Id', 'Total'. " in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (layout(SAME), layout({"id": '"Id"'})),
        (layout(SAME), layout({"id": '"Id"', "amount": '"Total"'}, where='"Kind" = 1')),
        (layout(SAME), layout({"id": '"Id"', "amount": '"Sum"'})),
        (layout(SAME), layout(SAME, csv={"delim": ";"})),
        (layout(SAME), layout(SAME, csv=LATIN)),
        (layout(SAME), layout(SAME, csv={"encoding": "utf-16"})),
        (layout(SAME, csv=LATIN), layout(DECIMALS, csv={"encoding": "utf-16"})),
        (layout({"id": '"Größe"'}), layout({"id": 'lower("Größe")'}, csv=LATIN)),
        (layout(SAME), layout(DECIMALS, match="b/*")),
        (layout(SAME, match="a/*"), layout(DECIMALS, match="b/*")),
        (layout(SAME), layout(DECIMALS, format="ndjson")),
        (layout(SAME, header={"row": 1}), layout(DECIMALS, header={"row": 4})),
        (layout(SAME), layout(DECIMALS, header={"row": 1, "lines": 2})),
        (layout(SAME), layout(DECIMALS, header={"contains": ["Id", "Kind"]})),
        (layout(SAME, format="json"), layout(SAME, format="json", json={"records": "orders"})),
        (layout(SAME, format="json"), layout(SAME, format="xml", xml={"records": "orders"})),
        (layout(SAME, format="json"), layout({"id": '"Id"', "amount": '"Sum"'}, format="ndjson")),
        (
            layout(SAME, format="excel", excel={"sheet": "Orders"}),
            layout(DECIMALS, format="excel", excel={"sheet": "Items"}),
        ),
        (
            layout(SAME, format="fixed", fixed={"widths": [4, 9]}),
            layout(DECIMALS, format="fixed", fixed={"widths": [4, 8]}),
        ),
        (
            layout({"id": {"from": ["a", "b"]}, "amount": {"from": ["c"]}}),
            layout({"id": {"from": ["a"]}, "amount": {"from": ["B"]}}),
        ),
    ],
)
def test_layouts_that_a_file_tells_apart_are_accepted(one: dict[str, Any], other: dict[str, Any]) -> None:
    accepted(a=one, b=other)


def test_a_layout_that_reads_nothing_fits_every_file() -> None:
    nothing = layout({"id": "7"})
    with pytest.raises(
        FlowError, match=r"^layouts\.b: reads no column, so that every file fits it: write match"
    ):
        accepted(a=layout(SAME), b=nothing)
    accepted(b=nothing)
    accepted(a=layout(SAME), b=nothing | {"match": "b/*"})


def test_many_layouts_may_differ_in_one_name() -> None:
    accepted(**{f"l{n}": layout({"id": f'"Id {n}"', "amount": '"Total"'}) for n in range(200)})
