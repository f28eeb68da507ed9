"""An object of Google's or Azure's store as a target: uploaded atomically after the commit."""

from pathlib import Path
from typing import Any

from lume_local._flow.store_urls import split_store_url
from lume_local._shared.identity import identity_of_copies
from lume_local._worker.object_stores import StoreTrouble, obstore_errors, store_of
from lume_local._worker.targets.target import Begin, Step, TargetError, refuse_overtaken

STORE = "store"
"""The kind of its steps."""


class StoreTarget:
    """See `Target`. The file in the run's folder is kept until the object exists, so that it can be sent again.

    Args:
        place: `{"kind": "store", "url": …}`.
    """

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part = part
        self.location = self.place = place["url"]
        self.suffix = Path(self.location).suffix.lower()

    def check(self) -> None:
        """Check that the bucket exists and accepts the credentials."""
        try:
            store = store_of(self.location)
            import obstore

            with obstore_errors(self.location):
                obstore.list_with_delimiter(store, split_store_url(self.location)[2])
        except StoreTrouble as trouble:
            raise TargetError(f"target.{self._part}: {trouble}") from None

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Return the step; nothing can be begun in the store without being visible."""
        what = {"part": self._part, "identity": identity_of_copies(built)}
        return {"kind": STORE, "url": self.location, "from": str(built), **what}

    @staticmethod
    def publish(step: Step) -> None:
        refuse_overtaken(step)
        try:
            store = store_of(step["url"])
            import obstore

            with obstore_errors(step["url"]):
                obstore.put(store, split_store_url(step["url"])[2], Path(step["from"]))
        except StoreTrouble as trouble:
            raise TargetError(str(trouble), may_pass=trouble.may_pass) from None

    @staticmethod
    def abandon(step: Step) -> None:
        """Do nothing, as nothing was begun."""
