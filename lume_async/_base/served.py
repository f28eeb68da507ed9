"""The file in which `lume serve` keeps its URL and key. Error messages name it; nothing reads it implicitly."""

from pathlib import Path

_PLACE = Path(".lume") / "state" / "server.json"


def served_here() -> Path | None:
    """The file in the nearest folder, from the current one upwards, in which a server runs or ran."""
    try:
        here = Path.cwd()
        return next((file for folder in (here, *here.parents) if (file := folder / _PLACE).is_file()), None)
    except OSError:  # the current folder is gone, or a parent may not be read
        return None
