"""Layouts that fit each other's files are refused when they are registered, not when a file comes."""

from typing import Any

import pytest
from local.flows import people

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

COLUMNS: dict[str, Any] = {"id": {"type": "integer", "required": True}, "amount": {"type": "number"}}
SAME = {"id": '"Id"', "amount": '"Total"'}
DECIMALS = {"id": '"Id"', "amount": "parse_money(\"Total\", ',')"}


def layout(columns: dict[str, Any], match: str = "", **source: Any) -> dict[str, Any]:
    return {"columns": columns, "source": source} | ({"match": match} if match else {})


def compiled(**layouts: Any) -> None:
    with connect() as connection:
        compile_flow(connection, read_definition(people(columns=COLUMNS, layouts=layouts)))


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
            compiled(far=layout({"id": '"Other"'}), a=first, b=second)
        assert caught.value.place == "layouts.b"
        assert caught.value.problem.startswith("fits the same files as layout 'a': both read ")


def test_the_message_says_what_to_do() -> None:
    with pytest.raises(FlowError) as caught:
        compiled(a=layout(SAME), b=layout(DECIMALS))
    assert str(caught.value) == (
        "layouts.b: fits the same files as layout 'a': both read the header 'Id', 'Total'. Write match = \"…\", a "
        "pattern of the paths of its files, in one of them, or let one read a column that only its own files have"
    )
    with pytest.raises(FlowError) as caught:
        compiled(a=layout(SAME, format="json"), b=layout(SAME, format="ndjson"))
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
    compiled(a=one, b=other)


def test_a_layout_that_reads_nothing_fits_every_file() -> None:
    nothing = layout({"id": "7"})
    with pytest.raises(
        FlowError, match=r"^layouts\.b: reads no column, so that every file fits it: write match"
    ):
        compiled(a=layout(SAME), b=nothing)
    compiled(b=nothing)
    compiled(a=layout(SAME), b=nothing | {"match": "b/*"})


def test_many_layouts_may_differ_in_one_name() -> None:
    compiled(**{f"l{n}": layout({"id": f'"Id {n}"', "amount": '"Total"'}) for n in range(200)})
