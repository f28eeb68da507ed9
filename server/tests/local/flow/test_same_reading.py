"""Two versions share their sources only if one has the other's contract and reads all that the other one reads."""

from copy import deepcopy
from typing import Any

import pytest
from depth import examples
from hypothesis import example, given
from hypothesis import strategies as st

from lume_local._flow.definition import read_definition
from lume_local._flow.same_reading import includes
from lume_local._worker.sources.formats.names import fitting_columns

CONTRACT: dict[str, Any] = {
    "flow": "orders",
    "source": {"uri": "in/{source_path}", "identity": "content", "null": ["-"]},
    "target": {"mapped": "{data}/{run_id}.csv"},
    "rejects": {"max_ratio": 0.5},
    "columns": {
        "order_no": {"type": "integer", "required": True},
        "amount": {"type": "number", "minimum": 0},
        "day": {"format": "date"},
        "currency": {"enum": ["EUR", "USD"]},
        "note": {},
    },
    "rules": [{"name": "one", "sql": "order_no > 0"}],
    "expect": [{"name": "some", "sql": "count(*) > 0"}],
    "seeds": {"codes": {"path": "codes.csv", "key": "code"}},
}
READ = {
    "order_no": {"from": ["Order No"]},
    "amount": {"from": {"first": ["Net", "Gross"]}, "sql": "parse_money(value)"},
    "day": {"sql": '"Day"'},
    "currency": {"sql": "'EUR'"},
}
"""How a version without layouts reads the columns; the note by its own name."""
OWN = {"csv": {"delim": ";", "encoding": "cp1252"}, "header": {"row": 2}, "footer": {"rows": 1}}


def changed(place: str, value: Any, definition: dict[str, Any]) -> dict[str, Any]:
    """A copy with one value changed, or taken out if it is None."""
    found = deepcopy(definition)
    *above, last = place.split("/")
    inner = found
    for key in above:
        inner = inner.setdefault(key, {})
    if value is None:
        inner.pop(last, None)
    else:
        inner[last] = value
    return found


def alone() -> dict[str, Any]:
    columns = {name: one | READ.get(name, {}) for name, one in CONTRACT["columns"].items()}
    return CONTRACT | {"version": "v1", "source": CONTRACT["source"] | OWN, "columns": columns}


def layered() -> dict[str, Any]:
    """The same and another sender."""
    columns = {
        "order_no": {"from": ["Order No"]},
        "amount": {"from": {"first": ["Net", "Gross", "amount"]}, "sql": "parse_money(value)"},
        "day": '"Day"',
        "currency": {"sql": "'EUR'"},
        "note": '"note"',
    }
    layouts = {"v1": {"source": OWN, "columns": columns}, "other": {"columns": {"order_no": '"Nr"'}}}
    return CONTRACT | {"version": "v2", "layouts": layouts}


SAME: list[tuple[str, Any]] = [
    ("version", "v3"),
    ("description", "With another sender."),
    ("engine", {"shards": 2}),
    ("columns/note/description", "A note."),
    ("columns/note/title", "Note"),
    ("columns/note/type", "string"),  # as by default
    ("columns/currency/sql", "'EUR'"),  # the layout says the same
    ("layouts/v1/source/null", ["-"]),
    ("layouts/v1/source/format", "csv"),
    ("layouts/v1/columns/order_no", {"from": ["Order No", "order_no"]}),
    ("layouts/v1/columns/note", {"sql": '"note"'}),
    ("layouts/other", None),
    ("layouts/third", {"columns": {"order_no": '"N"'}}),
    ("layouts/third", {"match": "third/*", "columns": {"order_no": '"Order No"'}}),
]
OTHER: list[tuple[str, Any]] = [
    ("flow", "others"),
    ("target/mapped", "{data}/{run_id}.parquet"),
    ("target/rejects", "{data}/{run_id}.bad.csv"),
    ("rejects/max_ratio", 0.4),
    ("rejects/max_ratio", None),
    ("rules", None),
    ("rules", [{"name": "one", "sql": "order_no > 1"}]),
    ("expect", None),
    ("seeds/codes/path", "others.csv"),
    ("seeds/codes/per_run", True),
    ("columns/order_no/required", False),
    ("columns/order_no/unique", True),
    ("columns/order_no/unique", "ever"),
    ("columns/order_no/sql_type", "INTEGER"),
    ("columns/amount/minimum", 1),
    ("columns/amount/maximum", 1),
    ("columns/currency/enum", ["EUR"]),
    ("columns/note/pattern", "^a"),
    ("columns/note/maxLength", 3),
    ("columns/note/references", {"url_env": "NOTES_URL", "table": "notes", "column": "note"}),
    ("columns/more", {}),
    ("source/uri", "{source_path}"),
    ("source/identity", "path"),
    ("source/members", "*.csv"),
    ("source/compression", "none"),
    ("source/max_unpacked_bytes", 1000),
    ("source/null", ["n/a"]),
    ("source/on_unknown_columns", "fail"),
    ("source/max_line_bytes", 1000),
    ("layouts/v1", None),
    ("layouts/v1/match", "old/*"),
    ("layouts/v1/source/csv/delim", ","),
    ("layouts/v1/source/csv/encoding", "utf-8"),
    ("layouts/v1/source/header/row", 1),
    ("layouts/v1/source/footer", None),
    ("layouts/v1/source/comment", "#"),
    ("layouts/v1/source/where", "\"Day\" <> ''"),
    ("layouts/v1/source/null", ["-", "n/a"]),
    ("layouts/v1/columns/order_no", '"Order No"'),
    ("layouts/v1/columns/order_no/from", ["Order No", "OrderNo"]),
    ("layouts/v1/columns/order_no/from", ["order_no"]),
    ("layouts/v1/columns/order_no/from", {"first": ["Order No", "order_no"]}),
    ("layouts/v1/columns/amount/from", {"first": ["Gross", "Net", "amount"]}),
    ("layouts/v1/columns/amount/from", {"first": ["Net", "Gross"]}),
    ("layouts/v1/columns/amount/from", ["Net", "Gross", "amount"]),
    ("layouts/v1/columns/amount/sql", "parse_money(value, ',')"),
    ("layouts/v1/columns/day", '"day"'),
    ("layouts/v1/columns/currency/sql", "'USD'"),
    ("layouts/v1/columns/note", None),
]


@pytest.mark.parametrize(("place", "value"), SAME)
def test_what_a_version_may_say_otherwise(place: str, value: Any) -> None:
    first, second = read_definition(alone()), read_definition(changed(place, value, layered()))
    assert includes(second, first)
    assert not includes(first, second), "it has no layouts"


@pytest.mark.parametrize(("place", "value"), OTHER)
def test_one_difference_that_matters(place: str, value: Any) -> None:
    first, second = read_definition(alone()), read_definition(changed(place, value, layered()))
    assert not includes(second, first)


@pytest.mark.parametrize(("place", "value"), [*SAME, *OTHER])
def test_between_versions_with_layouts_only_more_layouts_may_be_there(place: str, value: Any) -> None:
    before, after = read_definition(layered()), read_definition(changed(place, value, layered()))
    is_same = (
        place,
        value,
    ) in SAME and place != "columns/currency/sql"  # which the other layout reads from now on
    has_less, has_more = value is None and place.startswith("layouts/"), place == "layouts/third"
    assert includes(after, before) is (is_same and not has_less)
    assert includes(before, after) is (
        (is_same and not has_more) or (place == "layouts/v1" and value is None)
    )


def test_the_name_of_a_layout_counts_and_the_order_of_columns_does_not() -> None:
    before, after = layered(), layered()
    after["layouts"] = {"webshop": after["layouts"]["v1"], "other": after["layouts"]["other"]}
    after["columns"] = dict(reversed(after["columns"].items()))
    assert not includes(read_definition(after), read_definition(before)), "a request may have named it"
    assert includes(read_definition(after), read_definition(alone())), "none had a name"


def test_members_of_objects_have_one_spelling() -> None:
    def flow(*names: str, has_layouts: bool) -> Any:
        read = {"from": [*names]}
        objects = {"format": "ndjson"}
        if not has_layouts:
            return read_definition({"flow": "a", "version": "v1", "source": objects, "columns": {"no": read}})
        layouts = {"x": {"source": objects, "columns": {"no": read}}}
        return read_definition({"flow": "a", "version": "v2", "columns": {"no": {}}, "layouts": layouts})

    before = flow("No", has_layouts=False)
    assert not includes(flow("No", has_layouts=True), before), "objects with no have been read, too"
    assert includes(flow("No", "no", has_layouts=True), before)


def test_without_layouts_each_version_has_its_own_sources() -> None:
    flow = read_definition(alone())
    assert not includes(read_definition(alone() | {"version": "v2"}), flow)


NAMES = st.sampled_from(["order_id", "Order ID", "order id", "OrderId", "ORDER_ID", "Nr", "nr", "N-R", "x"])
SPELLED = st.lists(NAMES, min_size=1, max_size=3, unique=True)


@given(
    mine=SPELLED,
    others=SPELLED,
    is_first=st.booleans(),
    header=st.lists(NAMES, min_size=1, max_size=6, unique=True),
)
@example(mine=["Order ID"], others=["Order ID"], is_first=False, header=["Order ID", "order_id"])
@example(mine=["Order ID"], others=["Order ID"], is_first=True, header=["OrderId", "order_id"])
@examples(2000)
def test_a_header_that_both_versions_can_read_is_read_to_the_same_column(
    mine: list[str], others: list[str], is_first: bool, header: list[str]
) -> None:
    before, after = ({"from": {"first": names} if is_first else names} for names in (mine, others))
    flow: dict[str, Any] = {"flow": "a", "version": "v1", "columns": {"order_id": before}}
    layouts = {"x": {"columns": {"order_id": after}}}
    first = read_definition(flow)
    second = read_definition(flow | {"version": "v2", "columns": {"order_id": {}}, "layouts": layouts})
    found = [
        fitting_columns(
            {
                "sources": {"order_id": ""},
                "respelled": [],
                "aliases": {"order_id": {"names": one.aliases.names, "first": one.aliases.first}},
            },
            header,
        )["order_id"]
        for (one,) in (first.columns, second.layouts[0].columns)
        if one.aliases
    ]
    if includes(second, first) and all(len(places) == 1 for places in found):
        assert found[0] == found[1]
