"""A file on this machine as a target."""

import os
import stat
from pathlib import Path
from typing import Any

from lume_local._shared import no_links
from lume_local._shared.commit import FILE, bring_near, put_in_place, remove_draft
from lume_local._shared.identity import identity
from lume_local._worker.targets.target import Begin, Step, TargetError, refuse_overtaken


class FileTarget:
    """See `Target`. The file is built in the run's folder, and moved into place by one rename.

    Args:
        place: `{"kind": "file", "path": …}`.
    """

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part, self._run_id = part, run_id
        self.location: str = place["path"]
        self._final = Path(self.location)
        self.suffix = self._final.suffix.lower()
        self.place = os.path.realpath(self._final)

    def check(self) -> None:
        try:
            is_folder = stat.S_ISDIR(no_links.stat(self._final).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return
        if is_folder:
            raise TargetError(f"target.{self._part} is a folder: {self._final}; name a file")

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Prepare the rename; a file on another file system is first copied beside its place."""
        self.check()
        near = bring_near(built, self._final, self._run_id, begin)
        places = {"from": str(near), "to": str(self._final)}
        return {"kind": FILE, **places, "part": self._part, "identity": identity(near)}

    @staticmethod
    def publish(step: Step) -> None:
        if "from" in step and no_links.exists(Path(step["from"])):
            refuse_overtaken(step)
        put_in_place(step)

    @staticmethod
    def abandon(step: Step) -> None:
        remove_draft(step)
