"""Targets of files: a file of this machine, a folder of Parquet files with a manifest, or an object of a store.

The manifest is the target: it replaces the previous one in one step, once all its parts are in place. Parts that it
does not name are then removed. Runs publish to the same folder one after the other, and the last one counts, as with
a file.

An object is uploaded after the commit, and visible only when it is complete. A large one is uploaded in parts; the
store hides them until the last request. A killed upload leaves its parts there, invisible; a lifecycle rule of the
bucket removes them (docs/guides/object-stores.md).
"""

import fcntl
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import orjson

from lume_local._flow.urls import split_store_url
from lume_local._shared import no_links
from lume_local._shared.commit import (
    FILE,
    bring_near,
    copy_durably,
    put_in_place,
    remove_draft,
    sync_folder,
    write_durably,
)
from lume_local._shared.folders import MANIFEST, PARTS, named_in
from lume_local._shared.identity import identity, identity_of_copies
from lume_local._worker.object_stores import StoreTrouble, if_there, obstore_errors, store_of
from lume_local._worker.sql import text
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
        if "overtaken" in step and "from" in step and no_links.exists(Path(step["from"])):
            refuse_overtaken(step)
        put_in_place(step)

    @staticmethod
    def abandon(step: Step) -> None:
        remove_draft(step)


_OURS = re.compile(r"part-\d{5,}-run_[0-9a-f]{32}\.parquet")
"""Only names given by runs: other programs write files called `part-…`, too, above all Spark."""


class PartsTarget:
    """See `Target`. It takes one file, or a folder of files whose names are in the order of the rows.

    Args:
        place: `{"kind": "parts", "path": …, "columns": [[name, type], …]}`.
    """

    suffix = ".parquet"

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part, self._run_id = part, run_id
        self._folder, self._columns = Path(place["path"]), place["columns"]
        self.location = str(self._folder / MANIFEST)
        self.place = os.path.realpath(self.location)

    def check(self) -> None:
        try:
            if not stat.S_ISDIR(no_links.stat(self._folder).st_mode):
                raise TargetError(
                    f"target.{self._part} is not a folder: {self._folder}; name a folder, or a file"
                )
            _named(self._folder)
        except FileNotFoundError:
            return
        except no_links.Relinked:
            raise
        except (OSError, ValueError):
            raise TargetError(
                f"target.{self._part}: {self._folder / MANIFEST} is not a manifest of parts; name another folder"
            ) from None

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Write the manifest beside the parts, which are first copied if they are on another file system."""
        self.check()
        files = sorted(built.glob("[!.]*")) if built.is_dir() else [built]
        names = [f"part-{n:05}-{self._run_id}.parquet" for n in range(len(files))]
        manifest = files[0].with_name(f".manifest.{self._run_id}.draft")
        write_durably(manifest, orjson.dumps(self._manifest(files, names), option=orjson.OPT_INDENT_2))
        with no_links.folder(self._folder, make=True):
            pass
        if _is_elsewhere(files[0], self._folder):
            begin({"kind": PARTS, "folder": str(self._folder), "run_id": self._run_id})
            *files, manifest = [self._near(file) for file in (*files, manifest)]
        return {
            "kind": PARTS,
            "part": self._part,
            "folder": str(self._folder),
            "manifest": str(manifest),
            "files": [[str(file), name] for file, name in zip(files, names, strict=True)],
            "identity": identity(manifest),
        }

    def _near(self, file: Path) -> Path:
        near = self._folder / f".{file.name.strip('.')}.{self._run_id}.draft"
        copy_durably(file, near)
        return near

    def _manifest(self, files: Sequence[Path], names: Sequence[str]) -> dict[str, Any]:
        listed = ", ".join(text(str(file)) for file in files)
        with duckdb.connect() as connection:
            query = f"SELECT file_name, num_rows FROM parquet_file_metadata([{listed}])"  # noqa: S608 - quoted
            found = dict(connection.execute(query).fetchall())
        counts = [found[str(file)] for file in files]
        parts = [
            {"file": name, "rows": rows, "bytes": file.stat().st_size}
            for name, file, rows in zip(names, files, counts, strict=True)
        ]
        return {
            "run_id": self._run_id,
            "rows": sum(counts),
            "bytes": sum(part["bytes"] for part in parts),
            "columns": [{"name": name, "type": kind} for name, kind in self._columns],
            "parts": parts,
        }

    @staticmethod
    def publish(step: Step) -> None:
        """Publish all parts, then the manifest; then remove an earlier run's files."""
        folder, manifest = Path(step["folder"]), Path(step["manifest"])
        kept = {name for _, name in step["files"]}
        with no_links.folder(folder, make=True) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)  # other runs publish here before or after
            if no_links.exists(manifest):
                refuse_overtaken(step)
            there = [_put_in_place(Path(source), folder / name) for source, name in step["files"]]
            is_named = _named(folder) == [name for _, name in step["files"]]
            if not (all(there) and (is_named or no_links.exists(manifest))):
                # A process was killed in the middle of this, or later: another run may have taken the place.
                if is_named or not _named(folder):
                    raise FileNotFoundError(f"a part of {folder} is neither in place nor where it was built")
                return _remove(folder, kept)
            sync_folder(folder)
            with suppress(FileNotFoundError):
                no_links.replace(manifest, folder / MANIFEST)
            sync_folder(folder)
            _remove(folder, {name for name in os.listdir(handle) if _OURS.fullmatch(name)} - kept)

    @staticmethod
    def abandon(step: Step) -> None:
        folder, end = Path(step["folder"]), f".{step['run_id']}.draft"
        with suppress(FileNotFoundError), no_links.folder(folder) as handle:
            _remove(
                folder, {name for name in os.listdir(handle) if name.startswith(".") and name.endswith(end)}
            )


def _is_elsewhere(file: Path, folder: Path) -> bool:
    """Return whether it is on another file system, from which it can't be renamed."""
    return file.stat().st_dev != no_links.stat(folder).st_dev


def _put_in_place(source: Path, target: Path) -> bool:
    """Move it, unless that was done before; return whether it is in place now."""
    try:
        no_links.replace(source, target)
    except FileNotFoundError:
        return no_links.exists(target)
    return True


def _named(folder: Path) -> list[str]:
    """Return the names in the folder's manifest; nothing if there is none."""
    try:
        return named_in(folder / MANIFEST)
    except FileNotFoundError:
        return []


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        no_links.unlink(folder / name)


STORE = "store"
"""The kind of its steps."""
_RUN = "lumerun"
"""The metadata of an object that names its run; Azure allows no hyphen."""
_PART = 5 * 1024 * 1024
_MOST_PARTS = 9_000
"""S3 and Google's store allow 10,000."""


class StoreTarget:
    """See `Target`. The file in the run's folder is kept until the object exists, so that it can be sent again.

    Args:
        place: `{"kind": "store", "url": …}`.
        run_id: is stored with the object.
    """

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part, self._run_id = part, run_id
        self.location = self.place = place["url"]
        self.suffix = Path(self.location).suffix.lower()

    def check(self) -> None:
        """Check that the bucket exists and accepts the credentials."""
        scheme, bucket, key = split_store_url(self.location)
        try:
            store = store_of(self.location)
            import obstore

            with obstore_errors(f"{scheme}://{bucket}"):
                obstore.list_with_delimiter(store, key)
        except StoreTrouble as trouble:
            raise TargetError(f"target.{self._part}: {trouble}") from None

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Return the step; nothing can be begun in the store without being visible."""
        what = {"part": self._part, "identity": identity_of_copies(built)}
        return {"kind": STORE, "url": self.location, "run": self._run_id, "from": str(built), **what}

    @staticmethod
    def publish(step: Step) -> None:
        url, built = step["url"], Path(step["from"])
        run = step.get("run")  # an older version wrote none
        try:
            store, key = store_of(url), split_store_url(url)[2]
            import obstore

            if "overtaken" in step:
                there = run and if_there(
                    url, lambda: obstore.get(store, key, options={"head": True}).attributes
                )
                return None if there and there.get(_RUN) == run else refuse_overtaken(step)
            length = max(_PART, -(-built.stat().st_size // _MOST_PARTS))
            named = {_RUN: run} if run else None
            with obstore_errors(url):
                obstore.put(store, key, built, attributes=named, chunk_size=length)
        except StoreTrouble as trouble:
            raise TargetError(str(trouble), may_pass=trouble.may_pass) from None

    @staticmethod
    def abandon(step: Step) -> None:
        """Do nothing, as nothing was begun."""
