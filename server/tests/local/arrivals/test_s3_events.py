"""What messages of queues are about."""

import json
from typing import Any

import pytest

from lume_local._arrivals.store_place import objects_of


def record(bucket: str, key: str) -> dict[str, Any]:
    return {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


EVENT = {"Records": [record("b", "in/a+b%2Bc%C3%A9.csv"), record("b", "x"), record("b", "x")]}
URLS = ["s3://b/in/a b+cé.csv", "s3://b/x"]
BRIDGE = {"source": "aws.s3", "detail": {"bucket": {"name": "b"}, "object": {"key": "in/a+b.csv"}}}


@pytest.mark.parametrize(
    ("message", "objects"),
    [
        (EVENT, URLS),
        ({"Type": "Notification", "Message": json.dumps(EVENT)}, URLS),
        (BRIDGE, ["s3://b/in/a+b.csv"]),
        ({"Event": "s3:TestEvent", "Bucket": "b"}, []),
        ({"Records": []}, []),
        ({"Type": "Notification", "Message": "hello"}, None),
        ({"Records": [{"s3": {}}]}, None),
        ({"Records": [record("b", "%ff")]}, None),
        ({"Records": [{"s3": {"bucket": {"name": 1}, "object": {"key": "x"}}}]}, None),
        ({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": 5}}}]}, None),
        ({"Records": 1}, None),
        ({"source": "aws.s3", "detail": None}, None),
        ({"order": 1}, None),
        ([1], None),
        ("text", None),
    ],
)
def test_messages(message: Any, objects: list[str] | None) -> None:
    assert objects_of(json.dumps(message)) == objects


def test_what_is_no_json() -> None:
    assert objects_of("") is None
    assert objects_of("{") is None
