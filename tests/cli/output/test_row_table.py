"""Values of rows at the terminal."""

from decimal import Decimal
from typing import Any

import pytest

from lume_cli._output.row_table import row_table


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
