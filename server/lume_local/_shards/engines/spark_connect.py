"""Spark by way of a Spark Connect server, without a Java here."""

from collections.abc import Iterator
from typing import Any

import orjson
from pyspark.sql.connect import functions
from pyspark.sql.connect.client.retries import DefaultPolicy
from pyspark.sql.connect.session import SparkSession

from lume_local._shards.engines.cluster import address, call
from lume_local._shards.executor import Json

_PORT = 15002
_MOST_RETRIES = 6
_LONGEST_RETRY = 10_000
"""Milliseconds: half a minute altogether, instead of Spark's ten."""


class Connect:
    """See `SparkDriver`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._slots = 0
        self._session: Any = None

    def start(self) -> None:
        """A session of its own on the server."""
        address(self._url, _PORT)
        self._session = SparkSession.builder.remote(self._url).create()
        policy = DefaultPolicy(max_retries=_MOST_RETRIES, max_backoff=_LONGEST_RETRY)
        self._session.client.set_retry_policies([policy])
        numbers = self._session.range(1_000_000).select(functions.spark_partition_id().alias("part"))
        self._slots = 1 + int(numbers.select(functions.max("part")).collect()[0][0])

    def count(self) -> int:
        """What it had at the start, where the server still answers: it doesn't tell what it has now."""
        self._session.conf.get("spark.app.name")
        return self._slots

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """A partition for each task: a range is cut as asked for, and a broadcast join leaves it so."""
        self._session.addTag(group)
        rows = [(number, orjson.dumps(job).decode()) for number, job in enumerate(jobs)]
        tasks = self._session.createDataFrame(rows, "id long, job string")
        grid = self._session.range(0, len(jobs), 1, len(jobs)).join(functions.broadcast(tasks), "id")
        found = grid.mapInArrow(_call_all, "id long, answer string").collect()
        answers: dict[int, Json] = {row["id"]: orjson.loads(row["answer"]) for row in found}
        return [answers[number] for number in range(len(jobs))]

    def cancel(self, group: str) -> None:
        """Spark then kills the Python processes that were at work."""
        self._session.interruptTag(group)

    def stop(self) -> None:
        """Only the session: the server is somebody else's."""
        if self._session is not None:
            self._session.stop()


def _call_all(batches: Iterator[Any]) -> Iterator[Any]:
    """On a worker: the answers to the tasks of one partition."""
    import pyarrow

    for batch in batches:
        given = batch.to_pydict()
        answers = [orjson.dumps(call(orjson.loads(job))).decode() for job in given["job"]]
        yield pyarrow.RecordBatch.from_pydict(
            {
                "id": pyarrow.array(given["id"], pyarrow.int64()),
                "answer": pyarrow.array(answers, pyarrow.string()),
            }
        )
