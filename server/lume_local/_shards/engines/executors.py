"""The executors by their URLs, and the parts of a URL that messages may quote.

Each executor is imported on first use because it may need an extra.
"""

import importlib
import os
import re

from lume_local._shards.executor import Executor
from lume_local._shared.extras import require

_KINDS = {
    "pool": ("pool", "Pool", None),
    "dask": ("dask", "Dask", "distributed"),
    "spark": ("spark", "Spark", "pyspark"),
    "spark-local": ("spark", "Spark", "pyspark"),
    "sc": ("spark", "Spark", "pyspark"),
    "ray": ("ray", "Ray", "ray"),
    "broker": ("broker", "Brokered", None),
}
"""Scheme -> the file beside this one, its class, and the module that it needs (in the extra named like the file)."""
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<place>[^/?#;]*)(?P<more>.*)", re.DOTALL)


class UnknownEngine(ValueError):
    """There is no such executor. The message lists those that exist."""


def check_engine(url: str) -> None:
    """Check that a URL names a usable executor. Raises `UnknownEngine`, `ModuleNotFoundError`."""
    scheme = url.partition("://")[0]
    if scheme not in _KINDS:
        raise UnknownEngine(
            f"no engine {shown(url)!r}: expected pool, pool://4, dask://…, spark://…, sc://… or ray://…"
        )
    if scheme == "pool":
        _size(url)
    name, _, module = _KINDS[scheme]
    if module is not None:
        require(module, name, f"the engine {scheme}")


def kind_of(url: str) -> str:
    return _KINDS[url.partition("://")[0]][0]


def executor_of(url: str) -> Executor:
    """Return the executor for a URL; it starts when entered. Raises as `check_engine` does."""
    check_engine(url)
    name, kind, _ = _KINDS[url.partition("://")[0]]
    made = getattr(importlib.import_module(f"lume_local._shards.engines.{name}"), kind)
    executor: Executor = made(_size(url)) if name == "pool" else made(url)
    return executor


def _size(url: str) -> int:
    """Return the number of processes of a pool: from its URL, else one per core available to this process."""
    said = url.partition("://")[2].rstrip("/")
    if not said:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not said.isdecimal() or not 1 <= int(said) <= 1024:
        raise UnknownEngine(
            f"the engine {shown(url)!r} must say a number of processes and nothing else, such as pool://4"
        )
    return int(said)


def shown(url: str) -> str:
    """Return the URL for messages, without token, user or password, even if it is malformed."""
    match = _URL.fullmatch(url)
    assert match is not None, "it takes any text"
    # A later @ may follow a password that contains a slash, or be part of a token.
    place = "…" if "@" in match["more"] else match["place"].rpartition("@")[2]
    return (match["scheme"] or "") + place


def is_cluster(url: str) -> bool:
    """Return whether the server shares one connection to it, instead of each run having its own processes."""
    return url.partition("://")[0] not in ("pool", "broker")
