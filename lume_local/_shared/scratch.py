"""The folder of a worker process for its small runs: beside the folders of runs, on their file system.

Each process removes its files; the server removes those of a killed process.
"""

from pathlib import Path

_NAME = "scratch"


def scratch(runs: Path) -> Path:
    """The folder of all processes; `runs` is that of the folders of runs."""
    return runs.with_name(_NAME)


def scratch_of(run: Path, pid: int) -> Path:
    """The folder of one process; `run` is the folder of any run."""
    return scratch(run.parent) / str(pid)
