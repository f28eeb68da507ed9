"""The backups of a data folder, in a file beside the state: `lume forget` lists them, as they still have the rows."""

import fcntl
from pathlib import Path

import orjson

from lume_local._shared import no_links
from lume_local._shared.commit import write_durably

_FILE, _MOST = "backups.json", 100


def note_backup(state: Path, backup: Path, made_at: str) -> None:
    """Note a backup, and forget the oldest of too many. Raises OSError."""
    with no_links.folder(state) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two may end at once
        noted = [*noted_backups(state).items(), (str(backup), made_at)][-_MOST:]
        write_durably(state / _FILE, orjson.dumps(dict(noted), option=orjson.OPT_INDENT_2))


def noted_backups(state: Path) -> dict[str, str]:
    """Return when each backup was made that is still where it was written. Raises OSError."""
    try:
        noted = orjson.loads((state / _FILE).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return {path: made_at for path, made_at in noted.items() if Path(path, "backup.json").exists()}
