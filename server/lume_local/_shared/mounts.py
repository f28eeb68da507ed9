"""The type of a folder's file system, and the types that other machines may write to."""

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

REMOTE = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "glusterfs",
    "gpfs",
    "lustre",
    "ocfs2",
    "vboxsf",
    "virtiofs",
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
