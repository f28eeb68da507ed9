"""Folders that worker and server agree on: an output in parts, a process's folder for small runs, and the uploads of
a run.

An output in parts is a folder of Parquet files, and the manifest that lists them. The folder of a process is beside
the folders of runs, on their file system. Each process removes its files; the server removes a killed one's. The type
of a file system decides what may be in a folder.
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


_MOUNTS = Path("/proc/self/mountinfo")

REMOTE = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "beegfs", "ceph", "glusterfs", "gpfs", "lustre"),
    *("ocfs2", "vboxsf", "virtiofs"),
)
"""Types on which SQLite's log may be damaged, and inotify misses the writes of other machines; FUSE types, too."""


def file_system(folder: Path) -> str:
    """Return the type, such as `nfs4`; empty if the system does not report it."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return ""
    real, best, kind = os.path.realpath(folder), "", ""
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = os.fsdecode(before.split()[4].decode("unicode_escape").encode("latin-1"))  # `\040` is a space
        if os.path.commonpath([real, point]) == point and len(point) >= len(best):
            best, kind = point, after.split()[0].decode()
    return kind
