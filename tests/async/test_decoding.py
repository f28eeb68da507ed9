from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import Factory, frozen

from lume_async._decoding import parse_time, structure
from lume_async.errors import ResponseDecodeError
from lume_async.models import RunStatus


@frozen
class Inner:
    count: int
    share: float = 0.0
    on: bool = False


@frozen
class Outer:
    name: str
    inner: Inner
    several: list[Inner] = Factory(list)
    at: datetime | None = None
    anything: dict[str, Any] | None = None
    status: RunStatus | None = None


GOOD = {"name": "n", "inner": {"count": 1}}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (GOOD, Outer("n", Inner(1))),
        (GOOD | {"unknown": "ignored"}, Outer("n", Inner(1))),
        (GOOD | {"inner": {"count": 1, "share": 1}}, Outer("n", Inner(1, 1.0))),
        (GOOD | {"at": None}, Outer("n", Inner(1))),
        (GOOD | {"several": None, "anything": None}, Outer("n", Inner(1))),
        (GOOD | {"inner": {"count": 1, "share": None, "on": None}}, Outer("n", Inner(1))),
        (GOOD | {"at": "2026-01-01T00:00:00Z"}, Outer("n", Inner(1), at=datetime(2026, 1, 1, tzinfo=UTC))),
        (GOOD | {"anything": {"a": [1]}}, Outer("n", Inner(1), anything={"a": [1]})),
        (GOOD | {"status": "FAILED"}, Outer("n", Inner(1), status=RunStatus.FAILED)),
        (GOOD | {"status": "NEW"}, Outer("n", Inner(1), status=RunStatus("NEW"))),
    ],
)
def test_good_values(raw: Any, value: Outer) -> None:
    found = structure(raw, Outer)
    assert found == value
    assert isinstance(found.status, RunStatus) or value.status is None


@pytest.mark.parametrize(
    ("raw", "reasons"),
    [
        ({}, ["required field missing @ $.name", "required field missing @ $.inner"]),
        (GOOD | {"name": 5}, ["expected a string, got int @ $.name"]),
        (GOOD | {"name": None}, ["expected a string, got NoneType @ $.name"]),
        (GOOD | {"inner": {"count": "1"}}, ["expected a whole number, got str @ $.inner.count"]),
        (GOOD | {"inner": {"count": True}}, ["expected a whole number, got bool @ $.inner.count"]),
        (GOOD | {"inner": {"count": 1.0}}, ["expected a whole number, got float @ $.inner.count"]),
        (GOOD | {"inner": {"count": 1, "share": "1"}}, ["expected a number, got str @ $.inner.share"]),
        (GOOD | {"inner": {"count": 1, "share": False}}, ["expected a number, got bool @ $.inner.share"]),
        (GOOD | {"inner": {"count": 1, "on": 1}}, ["expected true or false, got int @ $.inner.on"]),
        (GOOD | {"several": [{"count": 1}, {"count": None}]}, ["got NoneType @ $.several[1].count"]),
        (GOOD | {"at": 5}, ["expected an RFC 3339 time, got int @ $.at"]),
        (GOOD | {"name": 1, "inner": {"count": "x"}}, ["@ $.name", "@ $.inner.count"]),
        (GOOD | {"inner": None}, ["expected an object, got NoneType @ $.inner"]),
        (GOOD | {"inner": []}, ["expected an object, got list @ $.inner"]),
        (GOOD | {"inner": "count"}, ["expected an object, got str @ $.inner"]),
        ([], ["@ $"]),
        ("text", ["@ $"]),
        (None, ["@ $"]),
    ],
)
def test_every_fault_says_where(raw: Any, reasons: list[str]) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        structure(raw, Outer)

    for reason in reasons:
        assert reason in str(caught.value)
    assert not caught.value.retryable


def test_the_place_begins_where_the_value_lies() -> None:
    with pytest.raises(ResponseDecodeError, match=r"@ \$\.metadata\.x\.count"):
        structure({"count": None}, Inner, at="$.metadata.x")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00.5Z", datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-01T00:00:00.123456789Z", datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-01-01T02:00:00+02:00", datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))),
        ("2026-01-01T00:00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_always_aware(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment
    assert parse_time(text).tzinfo is not None


@pytest.mark.parametrize("value", ["", "yesterday", "2026-13-01T00:00:00Z", 0, None, {}])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"time|isoformat|month"):
        parse_time(value)
