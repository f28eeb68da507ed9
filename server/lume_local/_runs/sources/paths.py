"""Decides which files and objects the server may use: sources in roots and uploads, targets in roots and its data."""

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import evolve, field, frozen

from lume_local._flow.urls import NotAnSftpUrl, NotAStoreUrl, SftpUrl, is_sftp_url, split_store_url
from lume_local._sftp.root import SftpRoot

UPLOAD = "upload://"
"""The prefix of an upload's source path; its name follows."""
REPLAY = "lume-replay-"
"""The prefix of uploads that the server has gathered for a replay: requests can't use them."""
UPLOAD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""The names of uploads; only drafts of uploads begin with a dot."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class PathRefused(Exception):
    """The server may not use this path. The message says why and what to do."""


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


@frozen
class Roots:
    """The folders that paths may lie in. Create it with `of`.

    Attributes:
        folders: sources and targets may lie here; relative paths are relative to the first.
        data: the server's data folder, which the workers of a cluster share; targets may lie there too.
        state: the server's own folder, by default a part of `data`: neither sources nor targets.
        runs: the folders of active runs, a part of the state, or of the data if the state is elsewhere.
        uploads: the part of the data folder for uploads: no targets.
        stores: URLs of object stores below which sources and targets may lie.
        sites: URLs of SFTP servers with the server's credentials; for sources only.
        private: the server's own files outside the state, such as keys: neither sources nor targets.
        flows: the folder with the server's flow versions, which are not targets.
    """

    folders: tuple[Path, ...]
    data: Path
    state: Path
    runs: Path
    uploads: Path
    stores: tuple[str, ...] = ()
    private: tuple[Path, ...] = ()
    flows: Path | None = None
    sites: tuple[SftpRoot, ...] = ()
    _real: Callable[[str], str] = field(default=os.path.realpath, eq=False, repr=False)
    _identity: Callable[[str], tuple[int, int] | None] = field(default=_identity, eq=False, repr=False)

    @classmethod
    def of(
        cls,
        roots: tuple[Path, ...],
        data: Path,
        stores: tuple[str, ...] = (),
        private: tuple[Path, ...] = (),
        flows: Path | None = None,
        state: Path | None = None,
        sites: tuple[SftpRoot, ...] = (),
    ) -> "Roots":
        """Return the roots, with symbolic links resolved once, here."""
        real = tuple(Path(os.path.realpath(root)) for root in roots)
        home = Path(os.path.realpath(data))
        own = tuple(path.absolute() for path in private)  # unresolved: such a link may point elsewhere later
        own_state = home / "state" if state is None else Path(os.path.realpath(state))
        runs = own_state / "runs" if state is None else home / ".runs"
        uploads, own_flows = home / "uploads", flows and flows.absolute()
        return cls(real, home, own_state, runs, uploads, stores, own, own_flows, sites)

    def for_one_job(self) -> "Roots":
        """Return the same roots, which look at each path once. Not to be kept: links may change."""
        return evolve(self, real=cache(self._real), identity=cache(self._identity))

    def source(self, text: str, kind: str = "source") -> Path:
        """Return the file of a source path; it need not exist. Raises `PathRefused`, which names its `kind`."""
        folders = (self.uploads,) if text.startswith(UPLOAD) else self.folders
        path = self._below(self.located(text), text, folders, kind)
        if path.name.startswith(".") and self._is_in(path, self.uploads):
            raise PathRefused(f"the {kind} {text!r} is an upload that has not arrived yet: wait for its end")
        return path

    def located(self, text: str) -> Path:
        """Return the absolute path of a source path: two spellings of one file give the same path."""
        if text.startswith(UPLOAD):
            name = text.removeprefix(UPLOAD)
            if not UPLOAD_NAME.fullmatch(name):
                raise PathRefused(
                    f"{text!r} is not a valid upload: use the source_path of the response to the upload"
                )
            return self.uploads / name
        path = Path(_local(text))
        if ".." in path.parts:
            raise PathRefused(f"{text!r} contains a '..' part: write the path without it")
        return _normal(self.folders[0] / path)

    def looked_up(self, text: str) -> str:
        """Return text for messages: the folder of a relative source path; empty for other paths."""
        if text.startswith(UPLOAD) or Path(_local(text)).is_absolute():
            return ""
        first, *others = self.folders
        which = "the first of the server's roots" if others else "the server's root"
        return f" ({text!r} is relative to {which}, {first})"

    def relative(self, path: Path) -> str:
        """Return a source relative to its root, for `{source_path}` in a target: never absolute, never with `..`."""
        if lies_in(path, self.uploads):
            return path.relative_to(self.data).as_posix()
        for folder in self.folders:
            if lies_in(path, folder):
                return path.relative_to(folder).as_posix()
        return path.name

    def target(self, template: str, values: dict[str, str]) -> Path:
        """Return the file that a target template refers to for one run. Raises `PathRefused`."""
        text = filled(_local(template), values)
        if ".." in Path(text).parts:
            raise PathRefused(f"the target {text!r} contains a '..' part: write the path without it")
        return self.written(text)

    def written(self, text: str) -> Path:
        """Return the file of a target, if it may be written. Raises `PathRefused`."""
        path = self._below(_normal(self.folders[0] / text), text, (*self.folders, self.data), "target")
        if self._is_in(path, self.uploads):
            raise PathRefused(f"the target {text!r} lies among the uploads: choose another place")
        if self.flows is not None and path.suffix.lower() == ".toml" and self._is_in(path, self.flows):
            raise PathRefused(f"the target {text!r} is a flow version of this server: choose another place")
        return path

    def output(self, location: str) -> str:
        """Return an output's present location: its root may have been moved and be a link now.

        Other links are not followed.
        """
        if "://" in location:
            return location
        try:
            return str(self.written(location))
        except PathRefused:
            return location

    def _below(self, path: Path, shown: str, folders: tuple[Path, ...], kind: str) -> Path:
        real = Path(self._real(str(path)))  # resolves symbolic links, so a link out of a root is refused
        if not any(lies_in(real, folder) for folder in folders):
            listed = ", ".join(dict.fromkeys(map(str, folders)))
            raise PathRefused(
                f"the {kind} {shown!r} lies outside of the folders that this server may use: {listed}"
            )
        if self._is_in(real, self.state, self.runs, *self.private):
            raise PathRefused(f"the {kind} {shown!r} is the server's own state or keys: choose another place")
        return real

    def _is_in(self, path: Path, *places: Path) -> bool:
        """Return whether a real path is one of those places or lies in one, under any name.

        Comparing names is not enough: the file system may ignore case, and a file or mount may have a second name.
        """
        text, same = os.path.join(path, ""), set[tuple[int, int]]()
        for place in map(str, places):
            found = self._identity(place)
            if found is not None:
                same.add(found)
            # A place that exists is recognized below, whatever links its name has.
            elif text.startswith(os.path.join(self._real(place), "")):
                return True
        return bool(same) and any(self._identity(part) in same for part in _with_parents(str(path)))


def lies_in(path: Path, folder: Path) -> bool:
    """Return whether a path is a folder or lies in it, by name; `is_relative_to` takes 20 times as long."""
    return path == folder or str(path).startswith(os.path.join(folder, ""))


def _normal(path: Path) -> Path:
    """Normalize an absolute path; `normpath` alone keeps two slashes at its beginning."""
    return Path("/" + os.path.normpath(path).lstrip("/"))


def _with_parents(path: str) -> Iterator[str]:
    yield path
    while (parent := os.path.dirname(path)) != path:
        path = parent
        yield path


def filled(template: str, values: dict[str, str]) -> str:
    return re.sub(r"\{([a-z_]+)\}", lambda match: values.get(match[1], match[0]), template)


def spelled(uri: str, source_path: str) -> str:
    """Fill in the flow's template; an upload is returned as is, since templates don't apply to it."""
    return source_path if source_path.startswith(UPLOAD) else uri.replace("{source_path}", source_path)


def _local(text: str) -> str:
    """Convert a path or a `file://` URI to a path. Raises `PathRefused` for every other scheme."""
    if not _SCHEME.match(text):
        return text
    parts = urlsplit(text)
    if parts.scheme.lower() != "file" or parts.netloc not in ("", "localhost"):
        raise PathRefused(f"{text!r} is not a local file: this server takes paths and file:/// URIs")
    return unquote(parts.path)


def stored(roots: Roots, url: str, kind: str, folder: str = "") -> str:
    """Return the URL of an object, if the server may use it; `kind` is `source` or `target`. Raises `PathRefused`.

    For a pattern, return its leading `folder`, if the server may search all of it.
    """
    try:
        _, _, key = split_store_url(url)
    except NotAStoreUrl as error:
        raise PathRefused(f"the {kind} {error}") from None
    if not key or key.endswith("/"):
        raise PathRefused(f"the {kind} {url!r} names no object: write its whole key")
    if root_of(roots, f"{folder}/" if folder else url) is None:
        listed = ", ".join(roots.stores) or "none; start it with, say, s3://bucket/folder among its roots"
        raise PathRefused(
            f"the {kind} {url!r} lies outside of the buckets that this server may use: {listed}"
        )
    return folder or url


def remote(roots: Roots, text: str, folder: str = "") -> tuple[str, SftpRoot]:
    """Return the URL of a file on an SFTP server in one spelling, and its root, if this server may read it.

    For a pattern, return its leading `folder`, if the server may search all of it. Raises `PathRefused`.
    """
    try:
        url = SftpUrl.of(folder or text)
    except NotAnSftpUrl as error:
        raise PathRefused(f"the source {error}") from None
    if not folder and (not url.path or url.path.endswith("/")):
        raise PathRefused(f"the source {url.text!r} names no file: write its whole path")
    place = f"{url.text}/" if folder else url.text
    found = max(
        (root for root in roots.sites if root.holds(place)), key=lambda root: len(root.url), default=None
    )
    if found is None:
        listed = ", ".join(root.url for root in roots.sites)
        listed = listed or f"none; start it with, say, {url.site}/folder among its roots"
        raise PathRefused(
            f"the source {url.text!r} lies outside of the SFTP servers that this server may use: {listed}"
        )
    return url.text, found


def below_root(roots: Roots, url: str) -> str:
    """Return the part of a URL after its root: `{source_path}` in a target."""
    return url.removeprefix(root_of(roots, url) or "").lstrip("/")


def root_of(roots: Roots, url: str) -> str | None:
    """Return the root that contains the URL, if any."""
    known = [site.url for site in roots.sites] if is_sftp_url(url) else roots.stores
    return max((root for root in known if url.startswith(f"{root}/")), key=len, default=None)
