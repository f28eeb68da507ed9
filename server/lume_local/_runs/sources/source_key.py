"""Identifies a run's source by a key, and by its name in a target, `{source_path}`."""

import os
import re
from collections.abc import Iterable
from fnmatch import translate
from pathlib import Path

from attrs import frozen

from lume_local._flow.sftp_urls import is_sftp_url
from lume_local._flow.source_settings import SourceSettings
from lume_local._flow.store_urls import is_store_url
from lume_local._runs.sources.paths import UPLOAD, PathRefused, Roots, below_root, root_of
from lume_local._runs.sources.source_files import SourceSpec

_CONTENT = re.compile(r"(#(seeds:)?[0-9a-f]{64}){1,3}$")
"""The digests at the end of a key: of the source's content, if that is part of its identity; of the run's own seeds;
and, on a development server, of the flow version's content.
"""
_SEEDS = re.compile(r"#seeds:[0-9a-f]{64}")
_CHOICE = re.compile(r"\[!?\]?[^\]]*\]")
"""The brackets of a pattern. In a key they may also belong to a source path, which is literal."""
_MANY = 100
"""The number of files in a folder at which listing it becomes faster than checking each."""
_MAGIC = re.compile(r"[*?[]")


def source_key(source: SourceSettings, source_path: str, roots: Roots) -> str:
    """Return one key for all spellings of a source; a query's argument is its own key. Raises `PathRefused`."""
    if source.query and source_path.startswith(UPLOAD):
        raise PathRefused(
            f"the source of this flow is a query of a database, which reads no file such as {source_path!r}: "
            "correct the rows in the database, then submit the run again"
        )
    return source_path if source.query else SourceSpec(source.uris, source_path).key(roots)


def with_content(located: str, digest: str) -> str:
    """Return the key of a source identified by its place and its content."""
    return f"{located}#{digest}"


def with_seeds(located: str, digest: str) -> str:
    """Return the key of a source processed with the run's own seeds; see `digest_of`."""
    return f"{located}#seeds:{digest}" if digest else located


def batch_of(key: str) -> str:
    """Return the key without seeds: in a table, a run replaces the rows of its source whatever its seeds are."""
    return _SEEDS.sub("", key)


def content_in(key: str, located: str) -> str:
    """Return the digest in a key of `with_content`."""
    return key.removeprefix(f"{located}#")[:64]


def places_of(key: str) -> list[str]:
    return _CONTENT.sub("", key).split("\n")


class InUse:
    """The sources of runs; there may be 100,000."""

    def __init__(self, keys: Iterable[str]) -> None:
        named = {place for key in keys for place in places_of(key)}
        # Files are removed by their real path; a key keeps the symbolic links of a source path.
        self._places = named | set(_real({place for place in named if place.startswith("/")}).values())
        self._patterns: dict[str, list[str]] = {}
        for place in self._places:
            if _MAGIC.search(place):
                pattern = _CHOICE.sub("*", place)
                start = _MAGIC.split(pattern, maxsplit=1)[0].rpartition("/")[0]
                self._patterns.setdefault(start, []).append(pattern)
        self._compiled: dict[str, list[re.Pattern[str]]] = {}

    def has(self, path: str) -> bool:
        return path in self._places or any(
            pattern.match(path) for folder in _above(path) for pattern in self._of(folder)
        )

    def _of(self, folder: str) -> list[re.Pattern[str]]:
        """Return the patterns whose first wildcard is directly below the folder."""
        if folder not in self._patterns:
            return []
        if folder not in self._compiled:
            self._compiled[folder] = [re.compile(translate(one)) for one in self._patterns[folder]]
        return self._compiled[folder]


def _above(path: str) -> Iterable[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _real(places: set[str]) -> dict[str, str]:
    """Resolve many absolute paths like `os.path.realpath`, but common parents only once."""
    if not places:
        return {}
    inside: dict[str, list[str]] = {}
    for place in places:
        inside.setdefault(place.rpartition("/")[0], []).append(place)
    folders = {"": ""} | _real(set(inside) - {""})
    return {
        place: real
        for folder, several in inside.items()
        for place, real in _followed(folders[folder], several).items()
    }


def _followed(folder: str, places: list[str]) -> dict[str, str]:
    """Resolve several files of one folder, whose own real path is `folder`."""
    named = {place: f"{folder}/{place.rpartition('/')[2]}" for place in places}
    try:
        if len(named) < _MANY:
            links = {path for path in named.values() if os.path.islink(path)}
        else:
            with os.scandir(folder or "/") as entries:
                links = {entry.path for entry in entries if entry.is_symlink()}
    except FileNotFoundError:
        links = set()
    except OSError:
        links = set(named.values())  # each is then resolved separately
    return {place: os.path.realpath(path) if path in links else path for place, path in named.items()}


_PLACEHOLDER = "{source_path}"


@frozen
class SourceName:
    """The value of `{source_path}` in a target.

    Attributes:
        text: never absolute, never with `..`.
        is_own: whether no other source of the flow, such as one of another root, has the same name.
    """

    text: str
    is_own: bool

    def check(self, template: str) -> None:
        """Raise `PathRefused` if two sources could write to the same target."""
        if self.is_own or _PLACEHOLDER not in template or "{run_id}" in template:
            return
        raise PathRefused(
            f"two sources could write to the target {template!r}: {self.text!r} may stand for one of another root, "
            "or in another spelling. Add {run_id} to the target, or the root to source.uri"
        )


def name_of_query(source_path: str) -> SourceName:
    """Name a query by its argument, which may be any string: `/a` and `a` are different sources."""
    return SourceName(source_path.lstrip("/"), source_path == os.path.normpath(source_path.lstrip("/")))


def name_of_urls(roots: Roots, wanted: SourceSpec) -> SourceName:
    """Name one object by its path below its root, several by the source path."""
    path = wanted.source_path
    if wanted.is_single:
        url = wanted.key(roots)
        root = root_of(roots, url)
        is_own = all(_fixed(uri).startswith(f"{root}/") for uri in wanted.uris)
        return SourceName(below_root(roots, url), is_own)
    if is_store_url(path) or is_sftp_url(path):
        return SourceName(below_root(roots, path), False)
    return SourceName(path.lstrip("/"), not path.startswith("/"))


def name_of_files(roots: Roots, wanted: SourceSpec, sources: list[Path]) -> SourceName:
    """Name one file by its path below its root, several by the source path as if it were a file."""
    path = sources[0] if wanted.is_single else roots.located(wanted.source_path)
    folders = (*roots.folders, roots.uploads)
    root = next((folder for folder in folders if path.is_relative_to(folder)), None)
    # Only the first root owns its names: sources of other roots are refused unless the flow fixes the root.
    is_own = root in (roots.folders[0], roots.uploads) or (
        wanted.is_single and root is not None and all(_is_below(roots, uri, root) for uri in wanted.uris)
    )
    return SourceName(roots.relative(path), is_own)


def _is_below(roots: Roots, uri: str, root: Path) -> bool:
    """Return whether the flow fixes its sources to the root."""
    folder = _fixed(uri).rpartition("/")[0]
    return bool(folder) and Path(os.path.realpath(roots.located(folder))).is_relative_to(root)


def _fixed(uri: str) -> str:
    """Return the part before the source path."""
    return uri.partition(_PLACEHOLDER)[0]
