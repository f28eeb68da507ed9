"""The type of the file system that a folder is on, and which of them other machines write to."""

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
"""SQLite's log may be damaged there, and inotify tells only of what this machine writes. Those of FUSE, too."""


def file_system(folder: Path) -> str:
    """Its type, such as `nfs4`; empty where the system does not say."""
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
