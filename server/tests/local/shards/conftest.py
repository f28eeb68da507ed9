"""See `worker/conftest.py`."""

from local.worker.conftest import here

__all__ = ["here"]
