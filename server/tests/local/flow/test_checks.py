"""`[checks]`: each mistake is refused with its place, and what it says otherwise."""

from typing import Any

import pytest
from local.flows import people

from lume_local._flow.definition import read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._flow.mistakes import line_of

COLUMNS = {
    "amount": {"type": "number", "sql_type": "DECIMAL(10,2)"},
    "day": {"format": "date"},
    "name": {},
}
FOOTER = {"footer": {"rows": 1}}


def of_amount(**check: Any) -> dict[str, Any]:
    return {"columns": {"amount": check}}


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ({}, "checks: has none: write rows"),
        ({"row": {"min": 1}}, "checks.row: is not a known key; did you mean 'rows'?"),
        (
            {"rows": {"min": 1, "on_violation": "warn"}},
            "checks.rows.on_violation: 'warn' is not one of fail, tell",
        ),
        ({"on_violation": "tel", "rows": {"min": 1}}, "checks.on_violation: .* did you mean 'tell'"),
        ({"rows": 5}, "checks.rows: must be a table"),
        ({"rows": {}}, "checks.rows: needs min or max"),
        ({"rows": {"min": 2, "max": 1}}, "checks.rows: needs min or max, or both, with min at most max"),
        ({"rows": {"mn": 1}}, "checks.rows.mn: is not a known key; did you mean 'min'?"),
        (
            of_amount(sum={"equal": 1}),
            "checks.columns.amount.sum.equal: is not a known key; did you mean 'equals'?",
        ),
        ({"rows": {"min": 1, "mx": 3}}, "checks.rows.mx: is not a known key; did you mean 'max'?"),
        ({"rows": {"min": 0.5}}, "checks.rows.min: must be a whole number"),
        (
            {"columns": {"amont": {}}},
            "checks.columns.amont: is not a column of the flow, which has amount, day",
        ),
        (
            of_amount(summ={"equals": 1}),
            "checks.columns.amount.summ: is not a known key; did you mean 'sum'?",
        ),
        (
            of_amount(newest={"within": "3d"}),
            r"checks.columns.amount.newest: has no meaning for DECIMAL\(10,2\)",
        ),
        (
            {"columns": {"name": {"sum": {"equals": 1}}}},
            "checks.columns.name.sum: has no meaning for VARCHAR",
        ),
        (
            {"columns": {"day": {"newest": {"within": "3 days"}}}},
            'newest.within: must be an age such as "36h"',
        ),
        ({"columns": {"day": {"newest": {}}}}, "checks.columns.day.newest.within: is missing"),
        (of_amount(nulls={"max": 2}), "checks.columns.amount.nulls.max: must lie between 0 and 1"),
        (of_amount(nulls={}), "checks.columns.amount.nulls.max: must lie between 0 and 1"),
        (of_amount(sum={}), 'checks.columns.amount.sum.equals: must be "footer", { sidecar'),
        (of_amount(sum={"equals": "foot"}), 'checks.columns.amount.sum.equals: must be "footer"'),
        (of_amount(sum={"equals": True}), "checks.columns.amount.sum.equals: must be a number, not True"),
        (of_amount(sum={"equals": 1, "tolerance": -1}), "amount.sum.tolerance: must not be negative"),
        (
            of_amount(sum={"equals": {"sidecar": "total.txt"}}),
            'sidecar: must name a file beside the source: such as "{path',
        ),
        (of_amount(sum={"equals": {"sidecar": "{path}/../x"}}), "sidecar: must name a file beside"),
        (of_amount(sum={"equals": {"file": "{path}.sum"}}), "amount.sum.equals.sidecar: is missing"),
        (
            of_amount(sum={"equals": "footer"}),
            r"amount.sum.equals: is the footer, which \[source\] does not describe",
        ),
    ],
)
def test_mistakes(checks: dict[str, Any], said: str) -> None:
    with pytest.raises(FlowError, match=said):
        read_definition(people(columns=COLUMNS, checks=checks))


def test_a_layout_without_a_footer_is_named() -> None:
    layouts = {
        "a": {"match": "a/*", "source": FOOTER, "columns": {"amount": '"A"'}},
        "b": {"match": "b/*", "columns": {"amount": '"B"'}},
    }
    with pytest.raises(FlowError, match=r"which \[layouts\.b\.source\] does not describe"):
        read_definition(people(columns=COLUMNS, layouts=layouts, checks=of_amount(sum={"equals": "footer"})))


def test_the_line_of_a_mistake() -> None:
    text = """flow = "f"
version = "v1"
[columns.day]
format = "date"
[checks]
rows = { min = 1 }
[checks.columns.day]
nulls = { max = 0.5 }
newest = { within = "soon" }
"""
    with pytest.raises(FlowError) as raised:
        read_toml(text)
    assert line_of(raised.value.place, text) == 9


def test_what_is_read() -> None:
    checks = {
        "on_violation": "tell",
        "rows": {"min": 1000, "max": 2_000_000, "on_violation": "fail"},
        "columns": {
            "amount": {
                "sum": {"equals": "footer", "tolerance": 0.01},
                "nulls": {"max": 0.02},
                "distinct": {"min": 3},
            },
            "day": {"newest": {"within": "3d"}},
        },
    }
    flow = read_definition(people(columns=COLUMNS, source=FOOTER, checks=checks))
    assert [
        (one["kind"], one["column"], one["on_violation"], one["least"], one["most"]) for one in flow.checks
    ] == [
        ("rows", "", "fail", 1000, 2_000_000),
        ("sum", "amount", "tell", None, 0.01),
        ("nulls", "amount", "tell", None, 0.02),
        ("distinct", "amount", "tell", 3, None),
        ("newest", "day", "tell", None, 3 * 86_400),
    ]
    assert flow.content_hash != read_definition(people(columns=COLUMNS, source=FOOTER)).content_hash
