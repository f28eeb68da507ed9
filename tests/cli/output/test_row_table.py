"""Values of rows at the terminal."""

from decimal import Decimal
from typing import Any

import pytest

from lume_cli._output.row_table import reject_table, row_table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"email": None, "tags": ["a", True]}, '{"email": null, "tags": ["a", true]}'),
        ([1, {"a": Decimal("2.50")}], '[1, {"a": 2.50}]'),
        ("{'a': 1}", "{'a': 1}"),
        (None, ""),
        (Decimal("2944.90"), "2944.90"),
    ],
)
def test_nested_values_are_json(value: Any, shown: str) -> None:
    assert row_table([{"n": 1, "v": value}], 0, None)[1] == f"1  {shown}".rstrip()


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"_lume_row": 1058, "_lume_line": 1061}, "line 1,061"),
        ({"_lume_row": 58, "_lume_line": None}, "row 58"),
        ({"_lume_row": 58}, "row 58"),
        ({"_lume_row": None, "_lume_line": 6}, "line 6"),
        ({"_lume_row": 3, "_lume_line": 4, "_lume_path": "$.orders[3]"}, "$.orders[3]"),
        ({"_lume_row": 3, "_lume_line": 4, "_lume_path": None}, "line 4"),
        ({"_lume_row": 3, "_lume_line": 4, "_lume_file": "a/b.csv"}, "line 4, b.csv"),
        ({"_lume_row": 3, "_lume_file": "a/b.csv"}, "row 3 of all, b.csv"),
        ({"_lume_row": 3, "_lume_line": 4, "_lume_path": "/a/b[4]", "_lume_file": "b.xml"}, "/a/b[4], b.xml"),
    ],
)
def test_where_a_rejected_row_is(row: dict[str, Any], place: str) -> None:
    assert reject_table([row | {"_lume_reasons": ["bad"]}], None)[1].split("  ")[0] == place
