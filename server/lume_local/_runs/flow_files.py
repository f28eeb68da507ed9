"""Flow version files: finds them in a folder, reads them, notices changes."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from lume_async.errors import ConfigurationError
from lume_local._flow.definition import Flow, read_toml
from lume_local._flow.fields import FlowError
from lume_local._flow.mistakes import with_line
from lume_local._shared import no_links
from lume_local._shared.commit import explain
from lume_local._shared.saved import stamp


class FlowFiles:
    """The file that each flow version was read from, and whether it has changed since."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._seen: dict[str, tuple[int, ...] | None] = {}

    def remember(self, ref: str, path: Path) -> None:
        self._paths[ref], self._seen[ref] = path, stamp(path)

    def path(self, ref: str) -> Path | None:
        """Return the file of a version; None if a request registered it."""
        return self._paths.get(ref)

    def changed(self, ref: str) -> Flow | None:
        """Return the flow in a version's file if that has changed since `remember` and still defines the version.

        Raises `ConfigurationError` if it has a mistake.
        """
        path = self._paths.get(ref)
        if path is None or (found := stamp(path)) is None or found == self._seen[ref]:
            return None
        flow = read(path)
        return flow if flow.ref == ref else None


def search(folder: Path, ref: str) -> tuple[list[tuple[Path, Flow]], str]:
    """Return the files of a folder that define a flow version, and the error of the last invalid file."""
    found, broken = [], ""
    try:
        paths = files(folder)
    except ConfigurationError as error:
        return [], str(error)
    for path in paths:
        try:
            flow = read(path)
        except ConfigurationError as error:
            broken = str(error)
        else:
            found += [(path, flow)] if flow.ref == ref else []
    return found, broken


def versions(folder: Path, name: str) -> list[str]:
    """Return the versions of a flow defined in a folder; unreadable files are skipped."""
    found = list[str]()
    with suppress(ConfigurationError):
        for path in files(folder):
            with suppress(ConfigurationError):
                flow = read(path)
                found += [flow.ref] if flow.name == name else []
    return found


def files(folder: Path) -> list[Path]:
    """Return the flow files of a folder, sorted. Raises `ConfigurationError`."""
    try:
        # `glob` would treat an unreadable folder as empty.
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(".toml"))
    except NotADirectoryError:
        raise ConfigurationError(f"the flows folder {str(folder)!r} is a file: pass its folder") from None
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no flows folder {str(folder)!r}: make it and put flow versions (*.toml) in it, pass "
            "flows=<folder>, or pass flows=None and register flows by request"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"the flows folder can't be read: {explain(error)}") from None


def read(path: Path) -> Flow:
    """Read the flow of a file. Raises `ConfigurationError` with the line of the mistake."""
    try:
        return read_toml(_text(path))
    except FlowError as error:
        raise ConfigurationError(located(path, error)) from None
    except (OSError, UnicodeError) as error:
        why = explain(error) if isinstance(error, OSError) else error
        raise ConfigurationError(f"{path} can't be read: {why}") from None


def _text(path: Path) -> str:
    """Read the content of a file. A symbolic link must stay in its folder, as in a mounted ConfigMap."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(path.parent)):
        raise OSError(errno.ELOOP, "it is a symbolic link out of its folder: copy the file there", str(path))
    with os.fdopen(no_links.open(real, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read().decode("utf-8-sig")


def located(path: Path, error: FlowError) -> str:
    try:
        text = _text(path)
    except (OSError, UnicodeError):  # it was readable a moment ago
        text = ""
    return with_line(error, text).located(path)
