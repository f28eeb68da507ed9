"""Where the small runs of a worker process work: beside the folders of runs, on their file system.

Each removes what it has there. What a process leaves that was killed, the server removes.
"""

from pathlib import Path

_NAME = "scratch"


def scratch(runs: Path) -> Path:
    """The folder of all processes; `runs` is that of the folders of runs."""
    return runs.with_name(_NAME)


def scratch_of(run: Path, pid: int) -> Path:
    """The folder of one process; `run` is the folder of any run."""
    return scratch(run.parent) / str(pid)
