"""An object of a store as a target: uploaded after the commit, and visible only when it is complete.

A large object is uploaded in parts; the store hides them until the last request. A killed upload leaves
its parts there, invisible; a lifecycle rule of the bucket removes them (docs/guides/object-stores.md).
"""

from pathlib import Path
from typing import Any

from lume_local._flow.urls import split_store_url
from lume_local._shared.identity import identity_of_copies
from lume_local._worker.object_stores import StoreTrouble, obstore_errors, store_of
from lume_local._worker.targets.target import Begin, Step, TargetError, refuse_overtaken

STORE = "store"
"""The kind of its steps."""
_RUN = "lumerun"
"""The metadata of an object that names its run; Azure allows no hyphen."""
_PART = 5 * 1024 * 1024
_MOST_PARTS = 9_000
"""S3 and Google's store allow 10,000."""


class StoreTarget:
    """See `Target`. The file in the run's folder is kept until the object exists, so that it can be sent again.

    Args:
        place: `{"kind": "store", "url": …}`.
        run_id: is stored with the object.
    """

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part, self._run_id = part, run_id
        self.location = self.place = place["url"]
        self.suffix = Path(self.location).suffix.lower()

    def check(self) -> None:
        """Check that the bucket exists and accepts the credentials."""
        scheme, bucket, key = split_store_url(self.location)
        try:
            store = store_of(self.location)
            import obstore

            with obstore_errors(f"{scheme}://{bucket}"):
                obstore.list_with_delimiter(store, key)
        except StoreTrouble as trouble:
            raise TargetError(f"target.{self._part}: {trouble}") from None

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Return the step; nothing can be begun in the store without being visible."""
        what = {"part": self._part, "identity": identity_of_copies(built)}
        return {"kind": STORE, "url": self.location, "run": self._run_id, "from": str(built), **what}

    @staticmethod
    def publish(step: Step) -> None:
        url, built = step["url"], Path(step["from"])
        run = step.get("run")  # an older version wrote none
        try:
            if "overtaken" in step:
                return None if run and _is_there(url, run) else refuse_overtaken(step)
            store = store_of(url)
            import obstore

            length = max(_PART, -(-built.stat().st_size // _MOST_PARTS))
            named = {_RUN: run} if run else None
            with obstore_errors(url):
                obstore.put(store, split_store_url(url)[2], built, attributes=named, chunk_size=length)
        except StoreTrouble as trouble:
            raise TargetError(str(trouble), may_pass=trouble.may_pass) from None

    @staticmethod
    def abandon(step: Step) -> None:
        """Do nothing, as nothing was begun."""


def _is_there(url: str, run: str) -> bool:
    """Return whether the object is the run's. Raises `StoreTrouble`."""
    store = store_of(url)
    import obstore

    try:
        with obstore_errors(url):
            found = obstore.get(store, split_store_url(url)[2], options={"head": True})
    except StoreTrouble as trouble:
        if trouble.is_missing:
            return False
        raise
    return found.attributes.get(_RUN) == run
