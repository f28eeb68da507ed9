"""Classes for mapped rows: they are Python, and rows become values of them."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest

from lume_async.testing import FakeAnswer, fake_client
from lume_cli._work.flow_model import KINDS, model

SCHEMA = {
    "title": "order_lines:v2",
    "properties": {
        "id": {"type": "integer"},
        "day": {"type": ["string", "null"], "format": "date"},
        "email": {"type": "string", "format": "email"},
        "price": {"type": ["number", "null"]},
        "paid": {"type": "boolean"},
    },
    "required": ["id"],
}
TEXT = '''from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class OrderLines:
    """A mapped row of order_lines:v2."""

    id: int
    day: date | None
    email: str
    price: Decimal | None
    paid: bool
'''


def test_its_text() -> None:
    assert model(SCHEMA, "dataclass", None) == TEXT


@pytest.mark.parametrize("kind", KINDS)
async def test_rows_become_values_of_it(kind: str) -> None:
    names: dict[str, Any] = {}
    exec(model(SCHEMA, kind, "Line"), names)
    row = {"id": 1, "day": "2026-01-02", "email": "a@example.org", "price": 1.5, "paid": True}
    client, _ = fake_client([FakeAnswer(200, {"items": [row], "next_cursor": None})])
    line = await anext(client.attach("run_1").mapped(as_=names["Line"]))
    read = line.get if kind == "typed-dict" else lambda name: getattr(line, name)
    assert [read(name) for name in ("id", "day", "price")] == [1, date(2026, 1, 2), Decimal("1.5")]


def test_the_schema_of_the_contract() -> None:
    schema = json.loads((Path(__file__).parents[2] / "contract/target_schema.json").read_text())
    assert "class People(TypedDict):" in model(schema, "typed-dict", None)
    assert "    age: int | None\n" in model(schema, "typed-dict", None)


@pytest.mark.parametrize(("column", "name"), [("Customer ID", "Row"), ("class", "Row"), ("id", "my row")])
def test_what_is_no_name(column: str, name: str) -> None:
    with pytest.raises(click.ClickException, match="can't be a name in Python"):
        model({"title": "f:v1", "properties": {column: {"type": "integer"}}}, "attrs", name)
