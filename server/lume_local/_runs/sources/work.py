"""Checks that the server may use the folder shared with a cluster's workers, and its state's folder."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from lume_async.errors import ConfigurationError
from lume_local._runs.sources.paths import Roots
from lume_local._shared.commit import write_durably
from lume_local._shared.folders import REMOTE, file_system

_log = logging.getLogger("lume_local")

_OWNER = "owner"


def check_new(places: Roots) -> None:
    """Check that a new state does not begin where another one has its runs, whose sources would be processed again.

    Raises `ConfigurationError`.
    """
    if (places.runs / _OWNER).exists():
        raise _of_another(places)


def _of_another(places: Roots) -> ConfigurationError:
    return ConfigurationError(
        f"{places.data} has the runs of another state, in PostgreSQL or another folder: pass its state_env or state, "
        f"another folder as data or work, or remove {places.runs / _OWNER} if no server still uses that state"
    )


def claim(places: Roots, store_id: str, *, is_used: bool = False) -> None:
    """Assign the folders of runs to a state; a server of another state would take them for leftovers.

    A state file beside them makes this unnecessary. Raises `ConfigurationError`, OSError.

    Args:
        is_used: whether the state has had runs; a warning is logged if they were elsewhere.
    """
    if places.runs.parent != places.state and any(
        path.is_dir() for path in (places.state / "runs").glob("run_*")
    ):
        raise ConfigurationError(
            f"{places.state / 'runs'} has folders of active runs, which now belong in {places.runs}: move them there"
        )
    places.runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    owner, draft = places.runs / _OWNER, places.runs / f".{_OWNER}-{store_id}-{os.getpid()}"
    if not owner.exists():
        if is_used:
            _log.warning(
                "this state was used with another data folder than %s: active runs, uploads and outputs are there. "
                "All servers of a state need the same one; runs that were active are CRASHED",
                places.data,
            )
        write_durably(draft, store_id.encode())
        with suppress(FileExistsError):  # another server was faster
            os.link(draft, owner)
        draft.unlink()
    if owner.read_bytes() != store_id.encode():
        raise _of_another(places)


def belongs(data: Path, state: Path, store_id: str) -> bool:
    """Return whether a data folder has the uploads and outputs of a state, judging by the folders."""
    owner = data / ".runs" / _OWNER
    if owner.exists():
        return owner.read_bytes() == store_id.encode()
    # A server creates both the uploads folder and the lock; a restored backup may have neither.
    return state == data / "state" and ((data / "uploads").is_dir() or not (state / "lock").exists())


def warn_if_remote(state: Path) -> None:
    """Warn about a network file system, where SQLite's log lacks memory shared by processes and can be damaged."""
    kind = file_system(state)
    if kind in REMOTE or kind.startswith("fuse."):
        _log.warning(
            "the state is on a network file system (%s): %s. SQLite may damage it there: put it on a local disk or "
            "block storage, with state=<folder>, or --state",
            *(kind, state),
        )
