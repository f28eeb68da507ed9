"""Finds the files that a run reads, which its flow's `uri` names, and identifies them.

A key is the same for all spellings of a source; its name in a target is `{source_path}`.

Patterns are searched like `glob`, by a walk that always ends: `**` does not follow symbolic links. Two links to a
parent folder would give an exponential number of paths.
"""

import glob
import os
import re
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from anyio.to_thread import run_sync

from lume_async._base.words import counted
from lume_local._flow.patterns import ANY_DEPTH, MOST_ENTRIES, MOST_FILES, Part, parts_of
from lume_local._flow.source_settings import SourceSettings
from lume_local._flow.urls import is_sftp_url, is_store_url
from lume_local._runs.sources.paths import (
    UPLOAD,
    PathRefused,
    Roots,
    below_root,
    lies_in,
    remote,
    root_of,
    spelled,
    stored,
)

_CONTENT = re.compile(r"(#(seeds:)?[0-9a-f]{64}){1,3}$")
"""The digests at the end of a key: of the source's content, if that is part of its identity; of the run's own seeds
and layout; and, on a development server, of the flow version's content.
"""
_SEEDS = re.compile(r"#seeds:[0-9a-f]{64}")
_PLACEHOLDER = "{source_path}"


class WalkFailed(Exception):
    """The search could not be completed. The message says why."""


class Walk:
    """One search. Runs in a thread, and ends soon after `is_stopped` returns True."""

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self._is_stopped = is_stopped
        self._seen = 0

    def files(self, folder: str, pattern: str) -> list[str]:
        """Return the matching files below a folder, sorted; no folders and no hidden files. Raises `WalkFailed`."""
        if pattern.endswith("/"):
            return []
        parts = parts_of(pattern)
        folders = [folder]
        for part in parts[:-1]:
            below = (
                self._all_folders(one) if part == ANY_DEPTH else self._matching(one, part, os.path.isdir)
                for one in folders
            )
            folders = list(dict.fromkeys(chain.from_iterable(below)))
        return sorted({file for one in folders for file in self._matching(one, parts[-1], os.path.isfile)})

    def _all_folders(self, folder: str) -> Iterator[str]:
        waiting = [folder]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += [
                entry.path
                for entry in self._entries(one)
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]

    def _matching(self, folder: str, part: str, is_wanted: Callable[[str], bool]) -> Iterator[str]:
        if not glob.has_magic(part):
            path = os.path.join(folder, part)
            return iter([path] if is_wanted(path) else [])
        matches = Part(part).matches
        return (
            entry.path for entry in self._entries(folder) if matches(entry.name) and is_wanted(entry.path)
        )

    def _entries(self, folder: str) -> Iterator["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._seen += 1
                    if self._is_stopped():
                        raise WalkFailed("the search for files was stopped")
                    if self._seen > MOST_ENTRIES:
                        raise WalkFailed(
                            f"there are more than {MOST_ENTRIES:,} files and folders to search: write more of the "
                            "path before its first wildcard"
                        )
                    yield entry
        except (FileNotFoundError, NotADirectoryError):
            return  # removed meanwhile
        except OSError as error:
            raise WalkFailed(f"the folder {folder} can't be read: {error.strerror or error}") from None


_ESCAPED = re.compile(r"\[([*?[])\]")
"""A character as `glob.escape` writes it."""


class SourceSpec(NamedTuple):
    """The specification of a run's source: its flow's `source.uri`, with the run's source path."""

    uris: tuple[str, ...]
    source_path: str

    @property
    def texts(self) -> list[str]:
        """The paths and patterns, filled in; an upload replaces them all."""
        return list(dict.fromkeys(spelled(uri, self.source_path) for uri in self.uris))

    @property
    def is_single(self) -> bool:
        """Whether this names one file, without a pattern."""
        return len(self.texts) == 1 and not self._patterns()

    @property
    def is_stored(self) -> bool:
        return any(is_store_url(text) for text in self.texts)

    def objects(self, roots: Roots) -> list[dict[str, str]]:
        """Return the objects, and patterns with the URL of the folder to search. Raises `PathRefused`."""
        return [
            {"url": stored(roots, text, "source", folder), "pattern": pattern}
            for text, folder, pattern in self._places(is_store_url)
        ]

    @property
    def is_remote(self) -> bool:
        return any(is_sftp_url(text) for text in self.texts)

    def remote_files(self, roots: Roots) -> list[dict[str, Any]]:
        """Return the same as `objects`, but on SFTP servers, each with its root. Raises `PathRefused`."""
        found = list[dict[str, Any]]()
        for text, folder, pattern in self._places(is_sftp_url):
            url, root = remote(roots, text, folder)
            found.append({"url": url, "pattern": pattern, "root": root.plain()})
        return found

    def _places(self, is_meant: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
        """Yield each text, with the folder and the rest of a pattern, or two empty strings. Raises `PathRefused`."""
        patterns = self._patterns()
        for text in self.texts:
            if not is_meant(text):
                raise PathRefused(
                    f"{text!r} is of another kind than other parts of the source: all must be paths, URLs of "
                    "object stores, or URLs of SFTP servers"
                )
            folder, pattern = _split(patterns[text]) if text in patterns else ("", "")
            yield text, folder, pattern

    def key(self, roots: Roots) -> str:
        """Return one key for all spellings of the same source. Raises `PathRefused`."""
        if self.is_stored:
            self.objects(roots)
            return "\n".join(self.texts)
        if self.is_remote:
            found = self.remote_files(roots)
            return "\n".join("/".join(filter(None, (one["url"], one["pattern"]))) for one in found)
        patterns = self._patterns()
        for text in self.texts:
            roots.source(_split(patterns[text])[0] if text in patterns else text)
        return "\n".join(str(roots.located(text)) for text in self.texts)

    def looked_up(self, roots: Roots) -> str:
        """Return text for messages: the folder that a relative path was resolved against."""
        return roots.looked_up(self.texts[0]) if self.is_single else ""

    async def find(self, roots: Roots) -> list[Path]:
        """Search the files in a thread, which ends when this is cancelled. Raises `PathRefused`."""
        if self.is_single:
            return self.files(roots)  # nothing to search
        stopped = threading.Event()
        try:
            return await run_sync(self.files, roots, stopped.is_set, abandon_on_cancel=True)
        finally:
            stopped.set()

    def files(self, roots: Roots, is_stopped: Callable[[], bool] = lambda: False) -> list[Path]:
        """Return the files; the matches of each pattern are sorted by name. Raises `PathRefused`."""
        if self.is_single:
            return [roots.source(self.texts[0])]
        patterns, found = self._patterns(), dict[Path, None]()
        for text in self.texts:
            matches = [text]
            if text in patterns:
                folder, rest = _split(patterns[text])
                roots.source(folder)
                try:
                    matches = Walk(is_stopped).files(os.path.join(roots.folders[0], folder), rest)
                except WalkFailed as error:
                    raise PathRefused(f"looking for {text!r}: {error}") from None
            if not matches:
                raise PathRefused(
                    f"no file matches {text!r}{roots.looked_up(text)}: put files there, then submit the run again"
                )
            _check_number(len(matches))
            found.update(dict.fromkeys(roots.source(match) for match in matches))
        _check_number(len(found))
        return list(found)

    def _patterns(self) -> dict[str, str]:
        """Return the patterns by their spelling. Only the flow can have patterns: a source path is literal."""
        if self.source_path.startswith(UPLOAD):
            return {}
        return {
            spelled(uri, self.source_path): uri.replace("{source_path}", glob.escape(self.source_path))
            for uri in self.uris
            if glob.has_magic(uri)
        }


def _check_number(files: int) -> None:
    if files > MOST_FILES:
        raise PathRefused(f"the source has {counted(files, 'file')}, and a run reads {MOST_FILES:,} at most")


def _split(pattern: str) -> tuple[str, str]:
    """Split a pattern into the folder before its first wildcard and the rest."""
    parts = pattern.split("/")
    fixed = next(n for n, part in enumerate(parts) if glob.has_magic(_ESCAPED.sub("", part)))
    folder = _ESCAPED.sub(r"\1", "/".join(parts[:fixed])) or ("/" if pattern.startswith("/") else ".")
    return folder, "/".join(parts[fixed:])


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
    """Return the key of a source processed with the run's own seeds or layout, which have this digest."""
    return f"{located}#seeds:{digest}"


def batch_of(key: str) -> str:
    """Return the key without seeds and layout: in a table, a run replaces all rows of its source."""
    return _SEEDS.sub("", key)


def content_in(key: str, located: str) -> str:
    """Return the digest in a key of `with_content`."""
    return key.removeprefix(f"{located}#")[:64]


def places_of(key: str) -> list[str]:
    return _CONTENT.sub("", key).split("\n")


class SourceName(NamedTuple):
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
    root = next((folder for folder in folders if lies_in(path, folder)), None)
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
