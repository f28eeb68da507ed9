"""Looking at processes, by way of /proc."""

import asyncio
import os
from collections.abc import Collection
from pathlib import Path

from forked import WORKER


def _parent_and_state(pid: int) -> tuple[int, str]:
    """The parent and the state of a process; state Z (a dead one that nobody has asked about) where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, "Z"
    return int(fields[1]), fields[0]


def _parents() -> dict[int, int]:
    """The parent of each living process."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = {pid: _parent_and_state(pid) for pid in pids}
    return {pid: above for pid, (above, state) in found.items() if state != "Z"}


def children(parent: int) -> list[int]:
    """The living children of a process."""
    return [pid for pid, above in _parents().items() if above == parent]


def workers(parent: int, *, but: Collection[int] = ()) -> list[int]:
    """The living worker processes of a server; `but` names those that somebody else has started."""
    parents = _parents()

    def is_below(pid: int) -> bool:  # a forked one is its fork server's child
        return pid in parents and (parents[pid] == parent or is_below(parents[pid]))

    return [pid for pid in parents if pid not in but and is_below(pid) and _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        return _is_forked(pid) or b"_worker.main import main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_forked(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == WORKER


_others: set[int] = set()


def leave_out_present_workers() -> None:
    """Another test file's server, which lives as long as this process, is none of the next test's business."""
    _others.clear()
    _others.update(workers(os.getpid()))


def own_workers() -> list[int]:
    """The worker processes that this test has started in its own process."""
    return workers(os.getpid(), but=_others)


def parent_of(pid: int) -> int:
    """The process that has started it."""
    return _parent_and_state(pid)[0]


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    return _parent_and_state(pid)[1] == "Z"


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped it."""
    return _parent_and_state(pid)[1] == "T"


async def gone(pids: list[int]) -> bool:
    """Whether all of these processes end within a minute."""
    deadline = asyncio.get_running_loop().time() + 60
    while not all(is_gone(pid) for pid in pids):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


def has_begun(pid: int) -> bool:
    """Whether a worker has come as far as DuckDB, and so has tied itself to its server."""
    process = Path(f"/proc/{pid}")
    try:
        if _is_forked(pid):  # which has DuckDB from the beginning, and its second thread after that
            return len(list((process / "task").iterdir())) > 1
        return b"duckdb" in (process / "maps").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def begun(pid: int) -> None:
    """Wait until it has."""
    async with asyncio.timeout(30):
        while not has_begun(pid):
            await asyncio.sleep(0.01)
