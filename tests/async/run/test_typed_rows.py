"""Rows as values of a user's class."""

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, NotRequired, TypedDict

import pytest
from attrs import frozen

import lume_async
import lume_sync
from lume_async import ResponseDecodeError
from lume_async.testing import FakeAnswer, fake_client


@frozen
class Attrs:
    id: int
    name: str | None
    day: date
    price: Decimal
    share: float = 0.5


@dataclass(frozen=True)
class Data:
    id: int
    name: str | None
    day: date
    price: Decimal
    share: float = 0.5


class Typed(TypedDict):
    id: int
    name: str | None
    day: date
    price: Decimal
    share: NotRequired[float]


ROW: dict[str, Any] = {"id": 1, "name": None, "day": "2026-01-02", "price": 1.1, "more": [1]}


def served(*rows: dict[str, Any]) -> lume_async.Client:
    return fake_client([FakeAnswer(200, {"items": list(rows), "next_cursor": None})])[0]


@pytest.mark.parametrize("kind", [Attrs, Data])
async def test_classes(kind: Any) -> None:
    run = served(ROW, {**ROW, "share": 1}).attach("run_1")
    day, price = date(2026, 1, 2), Decimal("1.1")
    assert [row async for row in run.mapped(as_=kind)] == [
        kind(1, None, day, price),
        kind(1, None, day, price, 1.0),
    ]


async def test_a_typed_dict() -> None:
    rows = [row async for row in served(ROW).attach("run_1").mapped(as_=Typed)]
    assert rows == [{"id": 1, "name": None, "day": date(2026, 1, 2), "price": Decimal("1.1")}]


def test_the_facade() -> None:
    run = lume_sync.Client._wrap(served(ROW, ROW)).attach("run_1")
    rows = run.mapped(as_=Data)
    assert next(rows).id == 1
    assert [row.price for row in rows] == [Decimal("1.1")]
    assert type(run.mapped()) is lume_sync.Rows


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"id": "1"}, r"expected int, got str @ \$\.id"),
        ({"id": True}, r"expected int, got bool @ \$\.id"),
        ({"id": None}, r"expected int, got NoneType @ \$\.id"),
        ({"name": 5}, r"\$\.name"),
        ({"day": "yesterday"}, r"\$\.day"),
        ({"price": "much"}, r"\$\.price"),
        ({"share": "1"}, r"expected float, got str @ \$\.share"),
    ],
)
@pytest.mark.parametrize("kind", [Attrs, Data, Typed])
async def test_a_row_that_does_not_fit(kind: Any, change: dict[str, Any], place: str) -> None:
    rows = served(ROW, {**ROW, **change}).attach("run_1").mapped(as_=kind)
    await anext(rows)
    with pytest.raises(ResponseDecodeError, match=f"row 2 is not a valid {kind.__name__}: .*{place}"):
        await anext(rows)


async def test_a_column_that_the_rows_do_not_have() -> None:
    row = {name: value for name, value in ROW.items() if name != "day"}
    with pytest.raises(ResponseDecodeError, match=r"row 1 is not a valid Attrs: .*day"):
        await anext(served(row).attach("run_1").mapped(as_=Attrs))


@pytest.mark.parametrize("kind", [dict, int, "Attrs", 5, dict[str, int]])
@pytest.mark.parametrize("part", ["mapped", "rejects"])
async def test_what_is_no_class_for_rows(kind: Any, part: str) -> None:
    with pytest.raises(TypeError, match="as_ must be an attrs class, a dataclass or a TypedDict"):
        getattr(served().attach("run_1"), part)(as_=kind)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (complex, "unsupported type <class 'complex'>"),
        (int | str, "unsupported type int | str"),
        ("Unknown", "name 'Unknown' is not defined"),
    ],
)
async def test_a_class_with_a_field_that_no_row_can_fill_is_refused_at_once(
    annotation: Any, reason: str
) -> None:
    for _ in range(2):
        client, transport = fake_client([])
        with pytest.raises(TypeError) as caught:
            client.attach("run_1").mapped(as_=make_dataclass("Field", [("value", annotation)]))
        assert str(caught.value).startswith("as_: rows can't become values of ")
        assert reason in str(caught.value)
        assert not transport.requests


class Level(IntEnum):
    LOW = 1


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Level, 1, Level.LOW),
        (Colour, "red", Colour.RED),
        (tuple[str, ...], ["a", "b"], ("a", "b")),
        (list[list[int]], [[1], []], [[1], []]),
        (set[str], ["a", "a"], {"a"}),
        (list, [1], [1]),
    ],
)
async def test_a_value_has_the_type_of_its_field(annotation: Any, value: Any, expected: Any) -> None:
    rows = (
        served({"value": value}).attach("run_1").mapped(as_=make_dataclass("Field", [("value", annotation)]))
    )
    found = (await anext(rows)).value
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (Level, 2, "2 is not a valid Level"),
        (Colour, "blue", "'blue' is not a valid Colour"),
        (Colour, 5, "expected str, got int"),
        (tuple[str, ...], "ab", "expected list, got str"),
        (list[list[str]], ["ab"], "expected list, got str"),
        (set[str], "ab", "expected list, got str"),
        (Sequence[str], "ab", "expected list, got str"),
        (list, "ab", "expected list, got str"),
        (bytes, 5, "expected bytes, got int"),
    ],
)
async def test_a_value_that_does_not_fit_its_field(annotation: Any, value: Any, reason: str) -> None:
    rows = (
        served({"value": value}).attach("run_1").mapped(as_=make_dataclass("Field", [("value", annotation)]))
    )
    with pytest.raises(ResponseDecodeError) as caught:
        await anext(rows)
    assert f"{reason} @ $.value" in str(caught.value)


# Rejects


@frozen
class AttrsReject:
    _lume_row: int | None
    _lume_reasons: list[str]
    email: str | None
    _lume_line: int | None = None
    _lume_raw: str | None = None


@dataclass(frozen=True)
class DataReject:
    _lume_row: int | None
    _lume_reasons: list[str]
    email: str | None
    _lume_line: int | None = None
    _lume_raw: str | None = None


class TypedReject(TypedDict):
    _lume_row: int | None
    _lume_reasons: list[str]
    email: NotRequired[str | None]
    _lume_raw: NotRequired[str]


REJECTS: tuple[dict[str, Any], ...] = (
    {
        "_lume_row": 3,
        "_lume_line": None,
        "_lume_reasons": ["email: bad", "id: twice"],
        "email": "x",
        "id": "1",
    },
    {"_lume_row": None, "_lume_line": 9, "_lume_reasons": ["too few"], "email": None, "_lume_raw": "a;b"},
)


@pytest.mark.parametrize("kind", [AttrsReject, DataReject])
async def test_rejects_as_classes(kind: Any) -> None:
    found = [row async for row in served(*REJECTS).attach("run_1").rejects(as_=kind)]
    assert found == [
        kind(3, ["email: bad", "id: twice"], "x"),
        kind(None, ["too few"], None, 9, "a;b"),
    ]


async def test_rejects_as_a_typed_dict_with_reason_and_limit() -> None:
    client, transport = fake_client([FakeAnswer(200, {"items": list(REJECTS[:1]), "next_cursor": None})])
    rows = client.attach("run_1").rejects("email: bad", 5, as_=TypedReject)
    assert [row async for row in rows] == [
        {"_lume_row": 3, "_lume_reasons": ["email: bad", "id: twice"], "email": "x"}
    ]
    assert transport.requests[0].path == "/v1/runs/run_1/rejects?limit=5&reason=email%3A+bad"


async def test_a_reject_that_does_not_fit() -> None:
    rows = (
        served(REJECTS[0], {**REJECTS[1], "_lume_reasons": "too few"}).attach("run_1").rejects(as_=DataReject)
    )
    await anext(rows)
    with pytest.raises(ResponseDecodeError, match=r"row 2 is not a valid DataReject: .*\$\._lume_reasons"):
        await anext(rows)
