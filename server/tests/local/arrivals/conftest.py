import pytest
from local.arrivals.queues import Queue
from moto_server import Bucket


@pytest.fixture
def queue(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A queue whose URL is in the environment, for the notifications of the bucket."""
    made = Queue(bucket)
    monkeypatch.setenv("ORDERS_QUEUE", made.url)
    return made
