"""`run.rejects()` and `run.mapped()`: every row once, and a clear word where there are none."""

import json
import re
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from components import package
from hypothesis import given
from hypothesis import strategies as st

from lume_async import (
    ApiError,
    InvalidRequestError,
    MissingLibraryError,
    NotSupportedError,
    ResponseDecodeError,
    RunNotFoundError,
)
from lume_async._run.results import frames, rows
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json


def query(request: FakeRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def served(items: list[dict[str, Any]], most: int = 10_000) -> Any:
    """A server that gives so many rows at most, whatever it is asked for, and sometimes none."""

    def answer(request: FakeRequest) -> FakeAnswer:
        asked = query(request)
        start, empty = map(int, asked.get("cursor", "0-0").split("-"))
        if not empty and start % 3 == 1:  # a page without rows is not the last one
            return FakeAnswer(200, {"items": [], "next_cursor": f"{start}-1"})
        size = min(int(asked["limit"]), most)
        end = start + size
        cursor = f"{end}-0" if end < len(items) else None
        page = {"items": items[start:end], "next_cursor": cursor}
        return FakeAnswer(200, json.dumps(page).encode())  # orjson writes no long numbers

    return answer


@given(count=st.integers(0, 30), most=st.integers(1, 7), limit=st.none() | st.integers(1, 40))
async def test_every_row_comes_once(count: int, most: int, limit: int | None) -> None:
    items = [{"n": n} for n in range(count)]
    client, transport = fake_client(served(items, most))

    found = [row async for row in client.attach("run_1").mapped(limit=limit)]

    assert found == items[:limit]
    assert all(int(query(request)["limit"]) <= (limit or rows.PAGE) for request in transport.requests)


async def test_what_is_asked_for() -> None:
    client, transport = fake_client(lambda request: FakeAnswer(200, {"items": [{}], "next_cursor": None}))

    assert [row async for row in client.attach("run_1").rejects("no & email", limit=5)] == [{}]

    assert transport.requests[0].path == "/v1/runs/run_1/rejects?limit=5&reason=no+%26+email"


def counting(**reasons: int) -> Any:
    """A server whose run has counted these reasons, with no row for any that is asked for."""
    counted = {name.replace("_", " "): number for name, number in reasons.items()}
    run = run_json("run_1", "PARTIAL_FAILED", metadata={"metrics": {"reject_reasons": counted}})
    page = {"items": [], "next_cursor": None}
    return lambda request: FakeAnswer(200, page if "/rejects" in request.path else run)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("is emty", "did you mean 'is empty'? Its reasons: is empty; too long"),
        ("LONG", "did you mean 'too long'? Its reasons: "),
        ("zzz", "was rejected for the reason 'zzz': Its reasons: is empty; too long"),
    ],
)
async def test_a_reason_that_no_row_has_is_told(reason: str, said: str) -> None:
    client, _ = fake_client(counting(is_empty=2, too_long=1))
    with pytest.warns(UserWarning, match=re.escape(said)):
        assert [row async for row in client.attach("run_1").rejects(reason)] == []


async def test_nothing_is_told_where_it_is_no_mistake() -> None:
    client, _ = fake_client(counting(is_empty=2))
    assert [row async for row in client.attach("run_1").rejects("is empty")] == []
    client, _ = fake_client(counting())
    assert [row async for row in client.attach("run_1").rejects("is empty")] == []


def test_it_says_what_it_is() -> None:
    client, _ = fake_client([])
    run = client.attach("run_1")
    assert repr(run.mapped()) == "<Rows of run run_1: mapped; iterate over it, or call to_pandas()>"
    assert "rejects, reason='too long', limit=3;" in repr(run.rejects("too long", limit=3))


@pytest.mark.parametrize(
    ("digits", "number"),
    [
        ("9" * 38, int("9" * 38)),
        ("1.5", 1.5),
        ("12.50", 12.5),
        ("0.30000000000000004", 0.1 + 0.2),
        ("1e23", 1e23),
        ("12345678901234567890.12", Decimal("12345678901234567890.12")),
        ("9007199254740993.0", Decimal("9007199254740993.0")),
        ("0.1234567890123456789", Decimal("0.1234567890123456789")),
        ("1e400", Decimal("1e400")),
        ("-1e-400", Decimal("-1e-400")),
    ],
)
async def test_numbers_keep_their_digits(digits: str, number: Any) -> None:
    body = b'{"items": [{"n": %b, "deep": [{"n": %b}]}], "next_cursor": null}' % ((digits.encode(),) * 2)
    client, _ = fake_client([FakeAnswer(200, body)])

    [row] = [row async for row in client.attach("run_1").mapped()]
    assert row == {"n": number, "deep": [{"n": number}]}
    assert type(row["n"]) is type(number)


PROBLEM = "urn:lume:problem:"


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "run-not-found", RunNotFoundError),
        (404, "no-output", InvalidRequestError),
        (404, "not-found", NotSupportedError),
        (404, None, NotSupportedError),
        (405, "method-not-allowed", NotSupportedError),
        (501, None, NotSupportedError),
        (409, "run-not-ended", InvalidRequestError),
        (409, "output-changed", InvalidRequestError),
        (410, "output-gone", ApiError),
    ],
)
async def test_what_a_server_says_instead(status: int, kind: str | None, error: type[ApiError]) -> None:
    body = {"type": PROBLEM + kind, "detail": "so it is", "run_id": "run_1"} if kind else b"<html>"
    client, transport = fake_client([FakeAnswer(status, body)])

    with pytest.raises(error) as caught:
        await anext(client.attach("run_1").rejects())

    assert type(caught.value) is error
    assert caught.value.status_code == status
    assert len(transport.requests) == 1
    assert ("does not offer the operation" in str(caught.value)) is (error is NotSupportedError)


async def test_a_server_that_leads_in_a_circle() -> None:
    client, _ = fake_client(lambda request: FakeAnswer(200, {"items": [{}], "next_cursor": "a"}))
    found = client.attach("run_1").rejects()
    with pytest.raises(ResponseDecodeError, match="the same cursor twice"):
        [row async for row in found]


async def test_what_is_no_row() -> None:
    client, _ = fake_client([FakeAnswer(200, {"items": [{}, 1], "next_cursor": None})] * 3)
    with pytest.raises(ResponseDecodeError, match=r"expected an object, got int @ \$.items\[1\]"):
        await anext(client.attach("run_1").rejects())


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────

MIXED: list[dict[str, Any]] = [
    {"id": 1, "ok": True, "share": 1.5, "why": ["a", "b"], "any": 1, "huge": 2**70, "deep": {"a": [1]}},
    {"id": None, "ok": None, "share": 2, "why": [], "any": "x", "huge": 1, "deep": None, "late": "here"},
]


def test_a_column_has_one_type() -> None:
    assert frames.columns(MIXED) == {
        "id": [1, None],
        "ok": [True, None],
        "share": [1.5, 2],
        "why": [["a", "b"], []],
        "any": ["1", "x"],
        "huge": [str(2**70), "1"],
        "deep": ['{"a": [1]}', None],
        "late": [None, "here"],
    }
    assert frames.columns([{"n": 2**60}, {"n": 0.5}]) == {"n": [str(2**60), "0.5"]}
    money = Decimal("12345678901234567890.12")
    assert frames.columns([{"n": money}, {"n": 0.5}, {"n": None}, {"n": 2**60}]) == {
        "n": [money, Decimal("0.5"), None, Decimal(2**60)]
    }
    assert frames.columns([{"n": money}, {"n": 10**19}, {"n": Decimal("1e-19")}]) == {
        "n": [str(money), str(10**19), "1E-19"]
    }
    assert frames.columns([{"n": money}, {"n": "a"}, {"n": [money]}]) == {
        "n": [f'"{money}"', "a", f'["{money}"]']
    }
    assert frames.columns([{"n": [1]}, {"n": ["a"]}]) == {"n": ["[1]", '["a"]']}
    assert frames.columns([{"n": None}]) == {"n": [None]}
    assert frames.columns([]) == {}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values), max_size=5))
@pytest.mark.parametrize("name", ["pyarrow", "polars", "pandas"])
def test_any_rows_make_a_table(name: str, items: list[dict[str, Any]]) -> None:
    table = getattr(frames, f"to_{name.removeprefix('py')}")(package(name), items)
    names = dict.fromkeys(key for item in items for key in item)
    columns = table.column_names if name == "pyarrow" else list(table.columns)
    assert columns == list(names)
    assert not names or len(table) == len(items)


@pytest.mark.parametrize("name", ["arrow", "polars", "pandas"])
async def test_the_rows_of_a_run_as_a_table(name: str) -> None:
    package(f"py{name}" if name == "arrow" else name)
    client, _ = fake_client(served(MIXED, most=1))
    found = client.attach("run_1").mapped()
    await anext(found)

    table = await getattr(found, f"to_{name}")()

    plain = {
        "arrow": lambda: table.to_pylist(),
        "polars": lambda: table.to_dicts(),
        "pandas": lambda: json.loads(table.to_json(orient="records")),
    }[name]()
    assert [row["id"] for row in plain] == [1, None]
    assert [row["ok"] for row in plain] == [True, None]
    assert [list(row["why"]) for row in plain] == [["a", "b"], []]
    assert [row["late"] for row in plain] == [None, "here"]


async def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(frames, "import_module", absent)
    client, transport = fake_client([])
    found = client.attach("run_1").mapped()
    for method, library in (("to_arrow", "pyarrow"), ("to_polars", "polars"), ("to_pandas", "pandas")):
        with pytest.raises(
            MissingLibraryError, match=f"{library} is not installed: .*pip install .*{library}$"
        ):
            await getattr(found, method)()
    with pytest.raises(ImportError):
        await found.to_arrow()
    assert transport.requests == []


async def test_a_library_that_is_broken_says_so_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(frames, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        frames.library("pandas")
