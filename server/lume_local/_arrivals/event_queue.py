"""A queue with notifications of a bucket. It may deliver a message twice, late, in any order, or never.

So a message is only a hint. It is deleted after its objects have been checked and settled; a server that is killed
earlier receives it again.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
from attrs import frozen

from lume_async._base.elided import elided
from lume_local._arrivals.listed import in_thread
from lume_local._arrivals.place import Found
from lume_local._arrivals.s3_events import objects_of
from lume_local._worker.object_stores import StoreTrouble, aws_client

_log = logging.getLogger("lume_local")

WAIT = 5
"""Seconds that a request waits for messages; stopping the server may take as long."""
RETRY = 10.0
"""Seconds before a failed queue is asked again."""
_MOST = 10
"""Messages of one answer, the maximum of SQS."""


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
                self._in_trouble(elided(str(trouble)))
                await anyio.sleep(RETRY)
            else:
                self._works()

    def _in_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.error("%s; trying again", trouble)
        self.trouble, self._client = trouble, None

    def _works(self) -> None:
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
