"""Spark through a Spark Connect server, without Java on this machine."""

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
"""Milliseconds: about half a minute in total, instead of Spark's ten minutes."""


class Connect:
    """See `SparkDriver`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._slots = 0
        self._session: Any = None

    def start(self) -> None:
        """Open a separate session on the server."""
        address(self._url, _PORT)
        self._session = SparkSession.builder.remote(self._url).create()
        policy = DefaultPolicy(max_retries=_MOST_RETRIES, max_backoff=_LONGEST_RETRY)
        self._session.client.set_retry_policies([policy])
        numbers = self._session.range(1_000_000).select(functions.spark_partition_id().alias("part"))
        self._slots = 1 + int(numbers.select(functions.max("part")).collect()[0][0])

    def count(self) -> int:
        """Return the slots at the start, if the server still answers: it doesn't report the present number."""
        self._session.conf.get("spark.app.name")
        return self._slots

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """Run each task in its own partition: a range is cut as asked, and a broadcast join keeps the partitions."""
        self._session.addTag(group)
        rows = [(number, orjson.dumps(job).decode()) for number, job in enumerate(jobs)]
        tasks = self._session.createDataFrame(rows, "id long, job string")
        grid = self._session.range(0, len(jobs), 1, len(jobs)).join(functions.broadcast(tasks), "id")
        found = grid.mapInArrow(_call_all, "id long, answer string").collect()
        answers: dict[int, Json] = {row["id"]: orjson.loads(row["answer"]) for row in found}
        return [answers[number] for number in range(len(jobs))]

    def cancel(self, group: str) -> None:
        """Interrupt the operations of a group; Spark then kills their Python processes."""
        self._session.interruptTag(group)

    def stop(self) -> None:
        """Stop only the session: the server belongs to somebody else."""
        if self._session is not None:
            self._session.stop()


def _call_all(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield, on a worker, the answers to the tasks of one partition."""
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
