"""What a flow version says about the layouts of its files, and where a mistake in them is."""

from typing import Any

import pytest
from local.flows import people

from lume_local._flow.definition import FlowLayout, read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._flow.table_bounds import Aliases

ORDERS = """
flow = "orders"
version = "v3"
[source]
uri = "in/*"
null = ["n/a"]
[columns.order_id]
type = "integer"
required = true
[columns.amount]
type = "number"
sql = '"amount"'
[columns.note]

[layouts.webshop.columns]
order_id = '"id"'

[layouts.mueller]
match = "mueller/*"
[layouts.mueller.source]
footer = { starts_with = ["Summe"] }
csv = { delim = ";", encoding = "cp1252" }
null = ["-"]
[layouts.mueller.columns]
order_id = { from = ["Bestell-Nr.", "Bestellnummer"] }
amount = { from = { first = ["Betrag"] }, sql = "parse_money(value, ',')" }
"""


def layout(**changes: Any) -> dict[str, Any]:
    """Return the changes of a flow that has two layouts, one of them with these keys."""
    return {"layouts": {"a": {"columns": {"id": '"A"'}}, "b": {"columns": {"id": '"B"'}, **changes}}}


def test_a_layout_has_its_own_settings_and_reads_what_it_lacks_as_the_contract_says() -> None:
    flow = read_toml(ORDERS)
    webshop, mueller = flow.layouts

    assert (webshop.name, webshop.match, webshop.source.delim) == ("webshop", (), ",")
    assert (mueller.name, mueller.match, mueller.source.delim) == ("mueller", ("mueller/*",), ";")
    assert (webshop.source.uris, webshop.source.null, mueller.source.null) == (("in/*",), ("n/a",), ("-",))
    assert (flow.source.encoding, flow.source.null) == ("utf-8", ("n/a",))
    assert [column.sql for column in webshop.columns] == ['"id"', '"amount"', "NULL"]
    assert [column.sql for column in mueller.columns] == ['"order_id"', "parse_money(value, ',')", "NULL"]
    assert [column.aliases for column in mueller.columns] == [
        Aliases(("Bestell-Nr.", "Bestellnummer"), first=False),  # without order_id
        Aliases(("Betrag",), first=True),
        None,
    ]
    assert [column.sql for column in flow.columns] == ["NULL", '"amount"', "NULL"]
    for one in flow.layouts:
        assert [column._replace(sql="", aliases=None) for column in one.columns] == [
            column._replace(sql="", aliases=None) for column in flow.columns
        ]
    assert flow.cleaners == ["parse_money"]


def test_the_contract_has_its_own_name_beside_its_aliases_in_all_layouts() -> None:
    flow = read_definition(people(columns={"id": {"from": ["Nr"]}}, layouts={"a": {}, "b": {}}))
    assert {one.columns[0].aliases for one in flow.layouts} == {Aliases(("Nr", "id"), first=False)}
    assert {one.columns[0].sql for one in flow.layouts} == {'"id"'}


def test_what_a_layout_says_of_a_column_is_all_that_counts() -> None:
    """A string has no `from`, nor has a `from` the sql of the contract."""
    contract = {"a": {"from": ["x"], "sql": "trim(value)"}, "b": {"from": ["y"], "sql": "upper(value)"}}
    flow = read_definition(
        people(columns=contract, layouts={"one": {"columns": {"a": '"A"', "b": {"from": ["B"]}}}})
    )
    assert [(column.sql, column.aliases) for column in flow.layouts[0].columns] == [
        ('"A"', None),
        ('"b"', Aliases(("B",), first=False)),
    ]


def test_layouts_are_part_of_the_hash_whatever_their_order() -> None:
    layouts = {"a": {"columns": {"id": '"A"'}}, "b": {"columns": {"id": '"B"'}}}
    flow = read_definition(people(layouts=layouts))
    turned = read_definition(people(layouts=dict(reversed(layouts.items()))))
    other = read_definition(people(layouts=layouts | {"b": {"columns": {"id": '"C"'}}}))
    assert flow.content_hash == turned.content_hash != other.content_hash


def test_a_version_without_layouts_reads_the_column_of_the_same_name() -> None:
    flow = read_definition(people())
    assert (flow.layouts, flow.columns[0].sql) == (tuple[FlowLayout, ...](), '"id"')


@pytest.mark.parametrize(
    "changes",
    [
        layout(match="b/*", source={"header": "none", "names": ["B"]}),
        layout(match=["b/*", "b//*"]),
        layout(
            match=["b/*", "s3://bucket/b/*"], source={"format": "fixed", "fixed": {"columns": {"B": [1, 4]}}}
        ),
        layout(
            source={
                "format": "fixed",
                "fixed": {"columns": {"B": [1, 4]}},
                "header": {"contains": ["Nummer"]},
            }
        ),
        layout(source={"format": "fixed", "fixed": {"widths": [4]}}),
        layout(source={"on_unknown_columns": "fail", "max_line_bytes": 100, "where": '"B" > 1'}),
        {"layouts": {"only": {"columns": {"id": '"B"'}, "source": {"header": "none", "names": ["B"]}}}},
        {"layouts": {f"l{n}": {"columns": {"id": f'"{n}"'}} for n in range(200)}},
        {
            **layout(),
            "source": {"uri": "a/*", "identity": "content", "compression": "zip", "members": "*.csv"},
        },
    ],
)
def test_layouts_that_are_accepted(changes: dict[str, Any]) -> None:
    assert read_definition(people(**changes)).layouts


UNRECOGNISED = (
    'leaves no names to recognise a file by: write match = "…", a pattern of the paths of its files, below '
    "[layouts.b]"
)
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"layouts": []}, "layouts: must be a table, not []"),
    ({"layouts": {}}, "layouts: is empty: describe at least one layout as [layouts.<name>], or remove it"),
    (
        {"layouts": {f"l{n}": {} for n in range(201)}},
        "layouts: are 201: a version may have up to 200",
    ),
    (
        {"columns": {f"c{n}": {} for n in range(1001)}, "layouts": {f"l{n}": {} for n in range(20)}},
        "layouts: are 20, of 1,001 columns each: a version may have up to 20,000 columns in all layouts",
    ),
    (
        {"layouts": {"a b": {}}},
        "layouts.a b: 'a b' can't name a layout: it must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    ),
    ({"layouts": {"a": "csv"}}, "layouts.a: must be a table: write [layouts.a]"),
    (
        {"layouts": {"a": {"columns": {}}, "A": {"columns": {}}}},
        "layouts: 'A' appears twice (names that differ only in case are the same)",
    ),
    (layout(matches="b/*"), "layouts.b.matches: is not a known key; did you mean 'match'?"),
    (layout(match=""), "layouts.b.match: is empty"),
    (layout(match="/"), "layouts.b.match: '/' is not a pattern of paths, such as \"mueller/*\""),
    (layout(match=[]), "layouts.b.match: must be a list of 1 to 1,000 values"),
    (layout(match=[7]), 'layouts.b.match: 7 is not a pattern of paths, such as "mueller/*"'),
    (layout(match=["b/*", " "]), "layouts.b.match: ' ' is not a pattern of paths, such as \"mueller/*\""),
    (
        {
            "layouts": {
                "a": {"match": ["a/*", "x/**"]},
                "b": {"match": "b/*"},
                "c": {"match": ["c/*", "x/**/*"]},
            }
        },
        "layouts.c.match: 'x/**/*' is a pattern of layout 'a', too: every file that it matches would have both",
    ),
    (layout(source="csv"), "layouts.b.source: must be a table, not 'csv'"),
    (
        layout(source={"uri": "b/*"}),
        "layouts.b.source.uri: is for all files, whatever their layout: move it to [source]",
    ),
    (
        layout(source={"identity": "content"}),
        "layouts.b.source.identity: is for all files, whatever their layout: move it to [source]",
    ),
    (layout(source={"delim": ";"}), "layouts.b.source.delim: is a key of csv: write csv = { delim = … }"),
    (
        layout(source={"csv": {"delim": ""}}),
        "layouts.b.source.csv.delim: must be one ASCII character, not the quote and",
    ),
    (
        layout(source={"csv": {"encoding": "klingon"}}),
        "layouts.b.source.csv.encoding: 'klingon' is not an encoding: try utf-8",
    ),
    (
        layout(source={"null": [" "]}),
        "layouts.b.source.null: ' ' is not a string of 1 to 100 characters without spaces",
    ),
    (
        layout(source={"max_line_bytes": 0}),
        "layouts.b.source.max_line_bytes: must be a whole number from 1 to 64,000,000",
    ),
    (
        layout(source={"format": "xml"}),
        'layouts.b.source.xml.records: is missing: the way to a record, such as "orders/order"',
    ),
    (
        layout(source={"format": "json", "footer": {"rows": 1}}),
        "layouts.b.source.footer: has no meaning for format 'json': remove it",
    ),
    (
        layout(source={"format": "sql", "url_env": "DB", "query": "SELECT 1"}),
        "layouts.b.source.format: is a query, which has no layouts: write its sql in a version without them",
    ),
    (
        layout(source={"header": "none", "names": ["B"]}),
        f'layouts.b.source.header: header = "none" {UNRECOGNISED}',
    ),
    (
        layout(source={"format": "fixed", "fixed": {"columns": {"B": [1, 4]}}}),
        f"layouts.b.source.fixed.columns: fixed.columns without header.contains {UNRECOGNISED}",
    ),
    (
        layout(source={"format": "fixed", "fixed": {"columns": {"B": [1, 4]}}, "header": "first"}),
        f"layouts.b.source.fixed.columns: fixed.columns without header.contains {UNRECOGNISED}",
    ),
    (
        {**layout(), "source": {"csv": {"delim": ";"}}},
        "source.csv: says how a file is written: with layouts, move it to [layouts.<name>.source]",
    ),
    (
        {**layout(), "source": {"where": '"A" > 1'}},
        "source.where: says how a file is written: with layouts, move it to [layouts.<name>.source]",
    ),
    ({**layout(), "source": {"colour": "red"}}, "source.colour: is not a known key; "),
    (layout(columns=["id"]), "layouts.b.columns: must be a table, not ['id']"),
    (
        layout(columns={"Id": '"B"'}),
        "layouts.b.columns.Id: is not a column of the flow: write [columns.Id] too, or one of id",
    ),
    (
        layout(columns={"id": 7}),
        "layouts.b.columns.id: must be sql, such as '\"Amount\"', or a table with from and sql",
    ),
    (layout(columns={"id": {}}), "layouts.b.columns.id: is empty: write from or sql, or leave it out"),
    (layout(columns={"id": " "}), "layouts.b.columns.id.sql: is empty: leave it out, or write NULL"),
    (
        layout(columns={"id": {"from": ["…"]}}),
        "layouts.b.columns.id.from: '…' has no letter or digit to compare",
    ),
    *(
        (
            layout(columns={"id": {"sql": '"B"', key: value}}),
            f"layouts.b.columns.id.{key}: is not how a file is read, which is from and sql: move it to [columns.id]",
        )
        for key, value in {
            "type": "integer",
            "required": True,
            "minimum": 1,
            "unique": True,
            "pattern": "x",
        }.items()
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes_are_named_with_their_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FlowError) as caught:
        read_definition(people(**changes))
    assert str(caught.value).startswith(message)
