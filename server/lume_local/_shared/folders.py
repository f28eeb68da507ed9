"""Folders that worker and server agree on: an output in parts, a process's folder for small runs, and the uploads of
a run.

An output in parts is a folder of Parquet files, and the manifest that lists them. The folder of a process is beside
the folders of runs, on their file system. Each process removes its files; the server removes a killed one's.
"""

import os
from pathlib import Path

import orjson

from lume_local._shared import no_links

PARTS = "parts"
"""The kind of such a target, and of its steps."""
MANIFEST = "_manifest.json"


HELD = "uploads"
"""The folder of links to uploads in a run's folder. The server creates them; the worker removes none."""


def named_in(manifest: Path) -> list[str]:
    """Return the files of a manifest, in the order of the rows. Raises OSError, or ValueError for other files."""
    with os.fdopen(no_links.open(manifest), "rb") as file:
        content = orjson.loads(file.read())
    try:
        return [str(part["file"]) for part in content["parts"]]
    except (KeyError, TypeError):
        raise ValueError(f"{manifest} names no parts") from None


_NAME = "scratch"


def scratch(runs: Path) -> Path:
    """Return the folder of all processes; `runs` contains the folders of runs."""
    return runs.with_name(_NAME)


def scratch_of(run: Path, pid: int) -> Path:
    """Return the folder of one process; `run` is the folder of any run."""
    return scratch(run.parent) / str(pid)
