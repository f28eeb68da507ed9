"""Reports flow files that change while a server runs: it keeps using their content from when it started."""

from pathlib import Path
from typing import Any

import anyio
import click

from lume_cli._output.stderr import Say
from lume_cli._work.flow.flow_diff import read_flow
from lume_local._shared.saved import stamp

_EVERY = 1.0
_WAYS_OUT = (
    "To use the change at once, increase the version; to test it, use `lume flow try` or a development server (`lume "
    "serve --dev`), where a version may change. After a restart this server uses the new content, unless a run has "
    "used the old one"
)


class FlowChanges:
    """The flow files of a folder, as they were at the start.

    Args:
        dev: whether the server uses each change.
    """

    def __init__(self, folder: Path, *, dev: bool = False) -> None:
        self._dev = dev
        self._folder = folder
        self._stamps = {path: stamp(path) for path in folder.glob("*.toml")}
        self._known = {path: _definition(path) for path in self._stamps}
        self._reported: dict[Path, Any] = {}

    async def report(self, say: Say) -> None:
        """Warn of each change, until cancelled."""
        while True:
            await anyio.sleep(_EVERY)
            for warning in self.changes():
                say.warn(warning)

    def changes(self) -> list[str]:
        """A message for each file that has changed since the last call."""
        found = []
        for path, known in self._known.items():
            saved = stamp(path)
            if saved is None or saved == self._stamps[path] or known is None:
                continue
            self._stamps[path] = saved
            now = _definition(path)
            if now is None or _ref(now) != _ref(known) or now in (known, self._reported.get(path)):
                continue
            self._reported[path] = now
            if self._dev:
                found.append(f"{path} has changed: the next run of {_ref(known)} uses it")
            else:
                found.append(f"{path} has changed, but {_ref(known)} stays as it was. {_WAYS_OUT}")
        return found


def _definition(path: Path) -> dict[str, Any] | None:
    """The file's content; None while it is not valid TOML, as in the middle of an edit."""
    try:
        return read_flow(path)
    except click.ClickException:
        return None


def _ref(definition: dict[str, Any]) -> str:
    return f"{definition.get('flow')}:{definition.get('version')}"
