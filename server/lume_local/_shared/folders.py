"""What worker and server know of each other's files: an output in parts, a process's folder for small runs, and the
uploads of a run.

An output in parts is a folder of Parquet files, and the manifest that lists them. The folder of a process is beside
those of runs, on their file system. Each process removes its files; the server removes those of a killed one.
"""

import os
from pathlib import Path

import orjson

from lume_local._shared import no_links

PARTS = "parts"
"""The kind of such a target, and of its steps."""
MANIFEST = "_manifest.json"


HELD = "uploads"
"""The folder in that of a run with links to its uploads. The server makes them; the worker removes none."""


def named_in(manifest: Path) -> list[str]:
    """The files that a manifest names, in the order of the rows. Raises OSError, or ValueError for other files."""
    with os.fdopen(no_links.open(manifest), "rb") as file:
        content = orjson.loads(file.read())
    try:
        return [str(part["file"]) for part in content["parts"]]
    except (KeyError, TypeError):
        raise ValueError(f"{manifest} names no parts") from None


_NAME = "scratch"


def scratch(runs: Path) -> Path:
    """The folder of all processes; `runs` is that of the folders of runs."""
    return runs.with_name(_NAME)


def scratch_of(run: Path, pid: int) -> Path:
    """The folder of one process; `run` is the folder of any run."""
    return scratch(run.parent) / str(pid)
