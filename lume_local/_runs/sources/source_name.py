"""What a run's source is called in a target: `{source_path}`."""

import os
from pathlib import Path

from attrs import frozen

from lume_local._flow.store_urls import is_store_url
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sources.source_files import SourceSpec
from lume_local._runs.sources.store_roots import below_root, root_of

_PLACEHOLDER = "{source_path}"


@frozen
class SourceName:
    """What `{source_path}` stands for in a target.

    Attributes:
        text: never absolute, never with `..`.
        is_own: whether no other source of the flow, such as one of another root, has the same name.
    """

    text: str
    is_own: bool

    def check(self, template: str) -> None:
        """Raises `PathRefused` if two sources could write to the same target."""
        if self.is_own or _PLACEHOLDER not in template or "{run_id}" in template:
            return
        raise PathRefused(
            f"two sources could write to the target {template!r}: {self.text!r} may stand for one of another root, "
            "or in another spelling. Add {run_id} to the target, or the root to source.uri"
        )


def of_query(source_path: str) -> SourceName:
    """The argument of a query may be any string, so `/a` and `a` are different sources."""
    return SourceName(source_path.lstrip("/"), source_path == os.path.normpath(source_path.lstrip("/")))


def of_urls(roots: Roots, wanted: SourceSpec) -> SourceName:
    """One object is named by its path below its root; several by the source path."""
    path = wanted.source_path
    if wanted.is_single:
        (url,) = wanted.texts
        root = root_of(roots, url)
        is_own = all(_fixed(uri).startswith(f"{root}/") for uri in wanted.uris)
        return SourceName(below_root(roots, url), is_own)
    if is_store_url(path):
        return SourceName(below_root(roots, path), False)
    return SourceName(path.lstrip("/"), not path.startswith("/"))


def of_files(roots: Roots, wanted: SourceSpec, sources: list[Path]) -> SourceName:
    """One file is named by its path below its root; several by the source path, as if that were a file."""
    path = sources[0] if wanted.is_single else roots.located(wanted.source_path)
    folders = (*roots.folders, roots.uploads)
    root = next((folder for folder in folders if path.is_relative_to(folder)), None)
    # The first root has the names to itself: sources of other roots are refused, unless the flow fixes the root.
    is_own = root in (roots.folders[0], roots.uploads) or (
        wanted.is_single and root is not None and all(_is_below(roots, uri, root) for uri in wanted.uris)
    )
    return SourceName(roots.relative(path), is_own)


def _is_below(roots: Roots, uri: str, root: Path) -> bool:
    """Whether the flow fixes its sources to the root."""
    folder = _fixed(uri).rpartition("/")[0]
    return bool(folder) and Path(os.path.realpath(roots.located(folder))).is_relative_to(root)


def _fixed(uri: str) -> str:
    """What comes before the source path."""
    return uri.partition(_PLACEHOLDER)[0]
