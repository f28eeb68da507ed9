"""Opens the place of an arrival by the scheme of `from`."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from lume_local._arrivals.local_place import open_folder
from lume_local._arrivals.place import ArrivalPlace
from lume_local._arrivals.settings import Arrival
from lume_local._arrivals.sftp_place import open_site
from lume_local._arrivals.store_place import open_bucket
from lume_local._runs.sources.paths import Roots

Opener = Callable[[Arrival, Roots], AbstractAsyncContextManager[ArrivalPlace]]

OPENERS: dict[str, Opener] = {
    "": open_folder,
    **dict.fromkeys(("s3", "gs", "az"), open_bucket),
    "sftp": open_site,
}
"""Openers by the scheme of `from`, such as `s3`; the empty scheme is for paths. Each raises `PlaceTrouble`."""


def opened(arrival: Arrival, roots: Roots) -> AbstractAsyncContextManager[ArrivalPlace]:
    """Open the place while the block lasts. Raises `PlaceTrouble`."""
    return OPENERS[arrival.scheme](arrival, roots)
