"""Which files the server may touch: sources below its roots, targets below its roots and its data folder."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import frozen

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class PathRefused(Exception):
    """A path that the server will not touch. The message says why and what to do."""


@frozen
class Roots:
    """The folders that paths may lie in. Build it with `of`.

    Attributes:
        folders: where sources and targets may lie; relative paths belong to the first.
        data: the server's data folder; targets may lie there too.
        state: the part of the data folder that is the server's own: neither sources nor targets.
    """

    folders: tuple[Path, ...]
    data: Path
    state: Path

    @classmethod
    def of(cls, roots: tuple[Path, ...], data: Path) -> "Roots":
        """The roots with all symbolic links followed once, here."""
        real = tuple(Path(os.path.realpath(root)) for root in roots)
        home = Path(os.path.realpath(data))
        return cls(real, home, home / "state")

    def source(self, text: str) -> Path:
        """The file that a source path means; it need not exist. Raises `PathRefused`."""
        path = self._below(self.located(text), text, self.folders, "source")
        if path.is_relative_to(self.state):
            raise PathRefused(f"{text!r} is the server's own state")
        return path

    def located(self, text: str) -> Path:
        """The absolute path that a source path spells: two spellings of one file give one path."""
        path = Path(_local(text))
        if ".." in path.parts:
            raise PathRefused(f"{text!r} holds a '..' part: name the place itself")
        return Path(os.path.normpath(self.folders[0] / path))

    def relative(self, path: Path) -> str:
        """A source below its root, as `{source_path}` in a target: never absolute, never with `..`."""
        for folder in self.folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.name

    def target(self, template: str, values: dict[str, str]) -> Path:
        """The file that a target template means for one run. Raises `PathRefused`."""
        text = re.sub(r"\{([a-z_]+)\}", lambda match: values.get(match[1], match[0]), _local(template))
        if ".." in Path(text).parts:
            raise PathRefused(f"the target {text!r} holds a '..' part: name the place itself")
        path = self._below(
            Path(os.path.normpath(self.folders[0] / text)), text, (*self.folders, self.data), "target"
        )
        if path.is_relative_to(self.state):
            raise PathRefused(f"the target {text!r} is the server's own state: choose another place")
        return path

    def _below(self, path: Path, shown: str, folders: tuple[Path, ...], kind: str) -> Path:
        real = Path(os.path.realpath(path))  # follows symbolic links: a link out of a root is out of the root
        if not any(real.is_relative_to(folder) for folder in folders):
            listed = ", ".join(str(folder) for folder in folders)
            raise PathRefused(
                f"the {kind} {shown!r} lies outside of the folders that this server may use: {listed}"
            )
        return real


def _local(text: str) -> str:
    """A path or a `file://` URI as a path. Raises `PathRefused` for every other scheme."""
    if not _SCHEME.match(text):
        return text
    parts = urlsplit(text)
    if parts.scheme.lower() != "file" or parts.netloc not in ("", "localhost"):
        raise PathRefused(f"{text!r} is not a local file: this server takes paths and file:/// URIs")
    return unquote(parts.path)
