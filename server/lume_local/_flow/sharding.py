"""`[engine]` of a flow version: the number of shards of a source. It changes no result, so no hash."""

import re

from attrs import frozen

from lume_local._flow.fields import FlowError, Table

SHARD_BYTES = 256 * 1024**2
"""The default size of a shard, approximately."""
LEAST_SHARD = 1024
MOST_SHARDS = 100_000
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@frozen
class Sharding:
    """The flow's settings for shards; None leaves them to the server."""

    shard_bytes: int | None
    shards: int | None


def read_engine(top: Table) -> Sharding | None:
    """Return the table `[engine]`; None if it is missing. Raises `FlowError`."""
    if not top.present("engine"):
        return None
    table = top.table("engine")
    if table.present("url"):
        raise FlowError(table.at("url"), "belongs to the server, not to a flow: lume serve --engine URL")
    sharding = Sharding(_shard_bytes(table), _shards(table))
    table.no_more()
    if sharding.shards is not None and sharding.shard_bytes is not None:
        raise FlowError(table.place, "has both shards and shard_bytes: remove one of the two")
    return sharding


def _shards(table: Table) -> int | None:
    if not table.present("shards"):
        return None
    count = table.count("shards", most=MOST_SHARDS)
    if count < 1:
        raise FlowError(table.at("shards"), "must be at least 1")
    return count


def _shard_bytes(table: Table) -> int | None:
    if not table.present("shard_bytes"):
        return None
    given, size = table.values["shard_bytes"], 0
    if isinstance(given, int) and not isinstance(given, bool):
        size = given
    elif isinstance(given, str) and (match := _SIZE.fullmatch(given)):
        size = int(match[1]) * _UNITS[match[2].upper()]
    if size < LEAST_SHARD:
        raise FlowError(
            table.at("shard_bytes"), f"{given!r} is not a valid size: write 256M or 1G, at least 1K"
        )
    return size
