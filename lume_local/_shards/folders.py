"""Folders of tasks, below that of their run."""

import uuid
from pathlib import Path


def made_below(folder: Path, name: str) -> Path:
    """A new folder: another attempt of the same task has another one. Not where the run's own is gone."""
    made = folder / f"{name}-{uuid.uuid4().hex[:12]}"
    made.mkdir()
    return made
