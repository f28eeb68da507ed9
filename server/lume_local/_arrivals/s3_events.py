"""Parses queue messages about objects: S3's own notifications, also through SNS or EventBridge. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote_plus

import orjson

_TEST = "s3:TestEvent"
"""The event that S3 sends once, when notifications are set up."""


def objects_of(body: str) -> Sequence[str] | None:
    """Return the URLs of the objects in a message, each once; None if it is not such a message."""
    try:
        found = _objects(orjson.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if found is None else list(dict.fromkeys(found))


def _objects(message: Any) -> list[str] | None:
    """Return the URLs. Raises ValueError, KeyError, TypeError or AttributeError for another format."""
    if not isinstance(message, dict):
        return None
    if message.get("Type") == "Notification":
        return _objects(orjson.loads(message["Message"]))
    if message.get("Event") == _TEST:
        return []
    if message.get("source") == "aws.s3":
        # EventBridge is the only one that does not encode keys.
        return [_url(message["detail"]["bucket"]["name"], message["detail"]["object"]["key"])]
    return list(_of_records(message["Records"])) if "Records" in message else None


def _of_records(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in records:
        yield _url(one["s3"]["bucket"]["name"], unquote_plus(one["s3"]["object"]["key"], errors="strict"))


def _url(bucket: str, key: str) -> str:
    if not (isinstance(bucket, str) and isinstance(key, str)):
        raise TypeError
    return f"s3://{bucket}/{key}"
