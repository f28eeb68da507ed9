"""A queue with notifications of a bucket. It may deliver a message twice, late, in any order, or never.

So a message is only a hint. It is deleted after its objects have been checked and settled; a server that is killed
earlier receives it again.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_plus

import anyio
import orjson
from attrs import frozen

from lume_async._base.elided import elided
from lume_local._arrivals.place import Found, in_thread
from lume_local._worker.object_stores import StoreTrouble, aws_client

_log = logging.getLogger("lume_local")

WAIT = 5
"""Seconds that a request waits for messages; stopping the server may take as long."""
RETRY = 10.0
"""Seconds before a failed queue is asked again."""
_MOST = 10
"""Messages of one answer, the maximum of SQS."""
_TEST = "s3:TestEvent"
"""The event that S3 sends once, when notifications are set up."""


@frozen
class _Message:
    handle: str
    objects: Sequence[str] | None


class EventQueue:
    """An SQS queue.

    Args:
        variable: the environment variable with its URL.

    Attributes:
        trouble: why it can't be used; empty if it can.
        has_answered: whether it has ever answered.
    """

    def __init__(self, variable: str) -> None:
        self.variable, self.trouble, self.has_answered = variable, "", False
        self._has_others = False
        self._client: Any = None

    async def follow(self, root: str, found: Found) -> None:
        """Pass the objects named in messages whose URLs begin with `root` to `found`, until cancelled."""
        while True:
            try:
                messages = await self._received()
                self._note_others(messages)
                urls = [url for one in messages for url in one.objects or () if url.startswith(root)]
                if urls:
                    await found(list(dict.fromkeys(urls)))
                await self._delete([one.handle for one in messages if one.objects is not None])
            except StoreTrouble as trouble:
                if (why := elided(str(trouble))) != self.trouble:
                    _log.error("%s; trying again", why)
                self.trouble, self._client = why, None
                await anyio.sleep(RETRY)
            else:
                if self.trouble:
                    _log.warning("the queue of %s works again", self.variable)
                self.trouble, self.has_answered = "", True

    def _note_others(self, messages: Sequence[_Message]) -> None:
        if not self._has_others and any(one.objects is None for one in messages):
            self._has_others = True
            _log.warning(
                "the queue of %s has messages that are not notifications of S3: they stay there",
                self.variable,
            )

    async def _received(self) -> list[_Message]:
        def receive() -> list[_Message]:
            with _errors(self.variable):
                answer = self._connected().receive_message(
                    QueueUrl=self._url(), MaxNumberOfMessages=_MOST, WaitTimeSeconds=WAIT
                )
            return [
                _Message(one["ReceiptHandle"], objects_of(one["Body"])) for one in answer.get("Messages", [])
            ]

        return await in_thread(receive)

    async def _delete(self, handles: Sequence[str]) -> None:
        """Delete messages; one that can't be deleted is delivered again."""
        if not handles:
            return
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)]

        def delete() -> None:
            with _errors(self.variable):
                self._connected().delete_message_batch(QueueUrl=self._url(), Entries=entries)

        await in_thread(delete)

    def _connected(self) -> Any:
        if self._client is None:
            self._client = aws_client("sqs")
        return self._client

    def _url(self) -> str:
        if url := os.environ.get(self.variable, "").strip():
            return url
        raise StoreTrouble(
            f"the environment variable {self.variable} is not set where the server runs: it must hold the URL of a "
            "queue of SQS"
        )


@contextmanager
def _errors(variable: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        why = error.response.get("Error", {})
        code = str(why.get("Code", ""))
        raise StoreTrouble(
            f"the queue of {variable} can't be used: {why.get('Message', '')} ({code})", code
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise StoreTrouble(f"the queue of {variable} can't be used: {error}") from None


def objects_of(body: str) -> Sequence[str] | None:
    """Return the URLs of the objects in a message, each once; None if it is no notification of S3.

    They are S3's own, also through SNS or EventBridge.
    """
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
    if "Records" not in message:
        return None
    found = [one["s3"] for one in message["Records"]]
    return [_url(one["bucket"]["name"], unquote_plus(one["object"]["key"], errors="strict")) for one in found]


def _url(bucket: str, key: str) -> str:
    if not (isinstance(bucket, str) and isinstance(key, str)):
        raise TypeError
    return f"s3://{bucket}/{key}"
