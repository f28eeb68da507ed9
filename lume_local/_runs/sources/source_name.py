"""What a run's source is called: its key, and `{source_path}` in a target."""

import os
from pathlib import Path

from attrs import frozen

from lume_local._flow.source_settings import SourceSettings
from lume_local._flow.store_urls import is_store_url
from lume_local._runs.sources.paths import UPLOAD, PathRefused, Roots
from lume_local._runs.sources.source_files import Wanted
from lume_local._runs.sources.store_roots import below_root, root_of

_PLACEHOLDER = "{source_path}"


def source_key(source: SourceSettings, source_path: str, roots: Roots) -> str:
    """One key for all spellings of one source; what a query is given is its own. Raises `PathRefused`."""
    if source.query and source_path.startswith(UPLOAD):
        raise PathRefused(
            f"the source of this flow is a query of a database, which reads no file such as {source_path!r}: "
            "correct the rows in the database, then submit the run again"
        )
    return source_path if source.query else Wanted(source.uris, source_path).key(roots)


@frozen
class SourceName:
    """What `{source_path}` stands for in a target.

    Attributes:
        text: never absolute, never with `..`.
        is_own: whether no other source of the flow is called so: not one of another root.
    """

    text: str
    is_own: bool

    def check(self, template: str) -> None:
        """Two sources must not write one file unnoticed. Raises `PathRefused`."""
        if self.is_own or _PLACEHOLDER not in template or "{run_id}" in template:
            return
        raise PathRefused(
            f"the target {template!r} could be that of another source, too: {self.text!r} may stand for one of "
            "another root, or in another spelling. Put {run_id} into the target, or the root into source.uri"
        )


def of_query(source_path: str) -> SourceName:
    """A source path of a query may be any text, and `/a` and `a` are two."""
    return SourceName(source_path.lstrip("/"), source_path == os.path.normpath(source_path.lstrip("/")))


def of_urls(roots: Roots, wanted: Wanted) -> SourceName:
    """One object is called by what follows its root; several by the source path."""
    path = wanted.source_path
    if wanted.is_single:
        (url,) = wanted.texts
        root = root_of(roots, url)
        is_own = all(_fixed(uri).startswith(f"{root}/") for uri in wanted.uris)
        return SourceName(below_root(roots, url), is_own)
    if is_store_url(path):
        return SourceName(below_root(roots, path), False)
    return SourceName(path.lstrip("/"), not path.startswith("/"))


def of_files(roots: Roots, wanted: Wanted, sources: list[Path]) -> SourceName:
    """One file is called by what follows its root; several by the source path, as if it were one."""
    path = sources[0] if wanted.is_single else roots.located(wanted.source_path)
    folders = (*roots.folders, roots.uploads)
    root = next((folder for folder in folders if path.is_relative_to(folder)), None)
    # Sources of the first root keep their names: those of the others are refused, or fixed to their own.
    is_own = root in (roots.folders[0], roots.uploads) or (
        wanted.is_single and root is not None and all(_is_below(roots, uri, root) for uri in wanted.uris)
    )
    return SourceName(roots.relative(path), is_own)


def _is_below(roots: Roots, uri: str, root: Path) -> bool:
    """Whether the flow itself says that its sources lie in the root."""
    folder = _fixed(uri).rpartition("/")[0]
    return bool(folder) and Path(os.path.realpath(roots.located(folder))).is_relative_to(root)


def _fixed(uri: str) -> str:
    """What comes before the source path."""
    return uri.partition(_PLACEHOLDER)[0]
