"""The flow versions that the server knows: read from files, registered by requests, compiled once.

If a requested version is unknown, the folder is searched again, so a new file needs no restart. A known version is
not replaced, since runs may have used it.
"""

import asyncio
import difflib
import errno
import logging
import math
import os
import re
from bisect import bisect_left, bisect_right, insort
from functools import cache
from importlib import metadata
from operator import itemgetter
from pathlib import Path
from typing import Any

from attrs import evolve

from lume_async.errors import ConfigurationError
from lume_local._flow.definition import Flow, read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._flow.mistakes import with_line
from lume_local._flow.same_reading import includes
from lume_local._runs.sources.source_files import batch_of
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.audit import REGISTER, Act
from lume_local._runs.store.records import StoredFlow
from lume_local._runs.times import now_text
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared import no_links
from lume_local._shared.commit import explain
from lume_local._shared.saved import stamp

COMPILER = 9
"""Increase it when the compiled form or its meaning changes; forms stored under other numbers are recompiled."""
_MOST_SIBLING_COLUMNS = 500
"""The maximum number of columns of other versions that a run receives."""
_DEVELOPED_KEY = re.compile("#[0-9a-f]{64}$")
_log = logging.getLogger("lume_local")
_version = cache(metadata.version)
"""Returns a package's version; the lookup takes a large part of a server's startup time."""
_OLDER_CLEANERS = (
    "%s keeps the cleaners it was compiled with, since runs have used them. In this version of lume_local they give "
    "other results (%s): increase the flow's version to use the new ones"
)

_CHANGED = (
    "{path} has changed, but {ref} stays as it was. Increase its version, see with `lume flow try` what the change "
    "does, or start a development server (`lume serve --dev`), where a version may change"
)
_DEVELOPED = "from a development server, where a version may change: {ref} had the content {content}"


class FlowConflict(Exception):
    """This flow version exists with different content, and a version never changes."""


class UnknownFlow(Exception):
    """The flow version does not exist. The message names existing ones and says what to do."""


class FlowRegistry:
    """Flow versions by their `flow:version`.

    Args:
        folder: the folder to search for files of unknown versions.
        dev: whether a version that has run may change with its file.
    """

    def __init__(
        self,
        store: SqlStore,
        known: list[StoredFlow],
        pool: WorkerPool,
        folder: Path | None = None,
        *,
        dev: bool = False,
    ) -> None:
        self._store = store
        self._pool = pool
        self._folder = folder
        self._dev = dev
        self._files: dict[str, tuple[Path, tuple[int, ...] | None]] = {}
        """The file that each version was read from, and its stamp then; none if a request registered it."""
        self._tag = f"{COMPILER}/duckdb {_version('duckdb')}"
        self._stored = {flow.ref: flow for flow in known}
        self._sorted = sorted(map(_place, known))
        self._parsed: dict[str, Flow] = {}
        self._alike: dict[str, tuple[str, ...]] = {}
        self._logged: dict[str, str] = {}
        """By version, the content of a changed file that was already logged."""
        self._registering = asyncio.Lock()

    async def require(self, ref: str) -> StoredFlow:
        """Return a flow version, reading a new file in the folder if necessary. Raises `UnknownFlow`."""
        if ref not in self._stored and self._folder is not None:
            await self._look_again(ref, self._folder)
        if ref not in self._stored:
            raise UnknownFlow(self._unknown(ref))
        return self._stored[ref]

    async def _look_again(self, ref: str, folder: Path) -> None:
        """Register the version from its file, if one exists by now."""
        every, broken = await asyncio.to_thread(_flows_in, folder)
        found = [(path, flow) for path, flow in every if flow.ref == ref]
        if len(found) > 1:
            names = " and ".join(path.name for path, _ in found)
            raise UnknownFlow(f"{ref} is in {names}, both new in {folder}: raise the version of one")
        for path, flow in found:
            self._files[ref] = path, stamp(path)
            try:
                await self.register(flow)
            except FlowError as error:
                raise UnknownFlow(f"{ref} has a mistake: {_located(path, error)}") from None
            except FlowConflict:  # a concurrent request has registered it: use that one
                return
        if broken and not found:
            raise UnknownFlow(f"{self._unknown(ref)}. A file there has a mistake: {broken}")

    async def newest(self, name: str) -> str | None:
        """Return the most recently registered version of a flow, including new files; None if there is none.

        Raises `UnknownFlow` for a new file with a mistake.
        """
        if self._folder is not None:
            every, _ = await asyncio.to_thread(_flows_in, self._folder)
            for _, flow in every:
                if flow.name == name and flow.ref not in self._stored:
                    await self._look_again(flow.ref, self._folder)
        first, end = self._span(name)
        return self._sorted[end - 1][-1] if first < end else None

    async def runnable(self, ref: str) -> tuple[Flow, str | None]:
        """Return the flow version for a run submitted now, and a note for that run. Raises `UnknownFlow`."""
        await self.require(ref)
        note = await self._note(ref)  # on a development server this may replace the version
        return self.parsed(ref), note

    async def _note(self, ref: str) -> str | None:
        """Return a note on a version whose file has changed; on a development server, replace the version."""
        try:
            changed = self._changed(ref)
        except ConfigurationError as error:
            if self._dev:
                raise UnknownFlow(f"{ref} has a mistake: {error}") from None
            changed = None  # an edit may be in progress
        if self._dev:
            if changed is not None:
                path, _ = self._files[ref]
                try:
                    await self.register(changed, replace=True)
                except FlowError as error:
                    raise UnknownFlow(f"{ref} has a mistake: {_located(path, error)}") from None
                self._files[ref] = path, stamp(path)
            return _DEVELOPED.format(ref=ref, content=self._stored[ref].content_hash[:8])
        if changed is None or changed.definition == self._stored[ref].definition:
            return None
        if changed.content_hash == self._stored[ref].content_hash:
            await self.register(changed)
            return None
        said = _CHANGED.format(path=self._files[ref][0], ref=ref)
        if self._logged.get(ref) != changed.content_hash:
            self._logged[ref] = changed.content_hash
            _log.warning("%s", said)
        return said

    def _changed(self, ref: str) -> Flow | None:
        """Return the flow in a version's file if that has changed since it was read and still defines the version.

        Raises `ConfigurationError` if it has a mistake.
        """
        path, seen = self._files.get(ref, (None, None))
        if path is None or (found := stamp(path)) is None or found == seen:
            return None
        flow = _read(path)
        return flow if flow.ref == ref else None

    def source_key(self, flow: Flow, located: str) -> str:
        """Return the key of a source for this version; on a development server each content has its own keys."""
        return f"{located}#{flow.content_hash}" if self._dev else located

    def place_of(self, key: str) -> str:
        """Return a `source_key` without the flow's content, and without seeds and layout."""
        return batch_of(_DEVELOPED_KEY.sub("", key) if self._dev else key)

    def alike(self, ref: str) -> tuple[str, ...]:
        """Return the versions that share sources with a version, itself included; none if there is no other.

        A version that only adds layouts reads earlier files in the same way: they are not processed again.
        """
        if ref not in self._alike:
            refs = [one.ref for one in self.all(ref.partition(":")[0])]
            found = [
                one for one in refs if one == ref or self._includes(one, ref) or self._includes(ref, one)
            ]
            self._alike[ref] = tuple(found) if len(found) > 1 else ()
        return self._alike[ref]

    def _includes(self, ref: str, other: str) -> bool:
        """Return whether a version reads all that the other one reads, with the same cleaners."""
        # Another version of lume_local may have compiled them with cleaners of other results.
        mine, others = (set(self._stored[one].compiled.get("cleaners", ())) for one in (ref, other))
        return (
            "layouts" in self._stored[ref].definition
            and others <= mine
            and includes(self.parsed(ref), self.parsed(other))
        )

    def _unknown(self, ref: str) -> str:
        """Return the message for an unknown flow version, with the closest known ones."""
        name, colon, _ = ref.partition(":")
        versions = [known for known in self._stored if known.partition(":")[0] == name]
        near = difflib.get_close_matches(ref, self._stored, 1, 0.6)
        if not colon:
            hint = f"write name:version, such as {(versions or near or ['orders:v1'])[-1]!r}"
        elif versions:
            hint = f"this flow has {_listed(versions)}"
        elif near:
            hint = f"did you mean {near[0]!r}?"
        else:
            hint = f"there are {_listed(list(self._stored))}" if self._stored else "none is registered"
        if self._folder is None:
            return f"there is no flow version {ref!r}: {hint}"
        return f"there is no flow version {ref!r}, nor a file with it in {self._folder}: {hint}"

    def is_known(self, ref: str) -> bool:
        return ref in self._stored

    def all(self, name: str | None = None) -> list[StoredFlow]:
        """Return the flow versions, all or of one flow, sorted by name, then by registration."""
        first, end = self._span(name)
        return [self._stored[ref] for *_, ref in self._sorted[first:end]]

    def page(self, name: str | None, after: str | None, limit: int) -> tuple[list[StoredFlow], bool]:
        """Return up to `limit` of `all` after a version, and whether there are more. Raises KeyError for it."""
        first, end = self._span(name)
        if after is not None:
            place = bisect_left(self._sorted, _place(self._stored[after]))
            if not first <= place < end:
                raise KeyError(after)
            first = place + 1
        page = self._sorted[first : min(first + limit, end)]
        return [self._stored[ref] for *_, ref in page], first + limit < end

    def _span(self, name: str | None) -> tuple[int, int]:
        """Return where the versions of a flow, or all, are in `_sorted`."""
        if name is None:
            return 0, len(self._sorted)
        return bisect_left(self._sorted, (name,)), bisect_right(self._sorted, name, key=itemgetter(0))

    def parsed(self, ref: str) -> Flow:
        if ref not in self._parsed:
            self._parsed[ref] = read_definition(self._stored[ref].definition)
        return self._parsed[ref]

    def noting(self, name: str) -> dict[str, set[str]]:
        """Return the columns whose values runs record, for each version of a flow; none if versions may change."""
        flows = [] if self._dev else [self.parsed(flow.ref) for flow in self.all(name)]
        return {
            flow.ref: {column.name for column in flow.columns if column.ever and isinstance(flow.mapped, str)}
            for flow in flows
        }

    async def register(
        self,
        flow: Flow,
        *,
        by: str = "server",
        replace_unused: bool = False,
        replace: bool = False,
        patience: float = math.inf,
    ) -> bool:
        """Add a flow version; return whether it is new. Raises `FlowError`, `FlowConflict`, `WorkerDied`.

        Args:
            by: the name of the key; `server` for a file.
            replace_unused: accept different content for a version that no run has used.
            replace: accept different content for any version, and log it.
            patience: see `WorkerPool.check`.
        """
        async with self._registering:
            known = self._stored.get(flow.ref)
            if known is not None and known.content_hash == flow.content_hash:
                # Engine settings may change: they do not affect results.
                if known.definition != flow.definition:
                    await self._keep(evolve(known, definition=flow.definition))
                return False
            is_used = known is not None and await self._store.is_used(flow.ref)
            if known is not None and known.definition == flow.definition and is_used and not replace:
                _log.warning(_OLDER_CLEANERS, flow.ref, ", ".join(flow.cleaners))
                return False
            if known is not None and not (replace or (replace_unused and not is_used)):
                raise FlowConflict(flow.ref)
            compiled = await self._pool.check(flow.definition, patience=patience)
            if known is not None:
                level, runs = (logging.WARNING, "runs used") if is_used else (logging.INFO, "no run used")
                _log.log(
                    level, "%s was replaced by the content of its file; %s the old content", flow.ref, runs
                )
            made = StoredFlow(flow.ref, flow.content_hash, flow.definition, compiled, self._tag, now_text())
            about = {"content": flow.content_hash} | ({} if known is None else {"before": known.content_hash})
            await self._keep(made, Act(by, REGISTER, flow.ref, about))
            return True

    async def _keep(self, flow: StoredFlow, act: Act | None = None) -> None:
        await self._store.put_flow(flow, act)
        if flow.ref in self._stored:
            del self._sorted[bisect_left(self._sorted, _place(self._stored[flow.ref]))]
        insort(self._sorted, _place(flow))
        self._stored[flow.ref] = flow
        self._parsed.pop(flow.ref, None)
        self._alike.clear()

    async def compiled(self, ref: str) -> dict[str, Any]:
        """Return the compiled form, recompiled if another DuckDB or an older lume_local compiled it."""
        stored = self._stored[ref]
        if stored.compiled_by != self._tag:
            async with self._registering:  # a concurrent replacement must not be overwritten
                stored = self._stored[ref]
                if stored.compiled_by != self._tag:  # unless a concurrent call has done it
                    # Use the cleaners that the version was compiled with: a version never changes.
                    compiled = await self._pool.check(stored.definition, stored.compiled.get("cleaners"))
                    stored = evolve(stored, compiled=compiled, compiled_by=self._tag)
                    await self._keep(stored)
        return stored.compiled | {"siblings": self._siblings(ref)}

    async def drafted(self, flow: Flow) -> dict[str, Any]:
        """Return the compiled form of an unregistered flow version. Raises `FlowError`."""
        return await self._pool.check(flow.definition) | {"siblings": self._siblings(flow.ref)}

    def _siblings(self, ref: str) -> list[dict[str, Any]]:
        """Return the columns that other versions read, newest first, to name the version that a file fits."""
        flow, room, found = ref.partition(":")[0] + ":", _MOST_SIBLING_COLUMNS, list[dict[str, Any]]()
        others = [other for other in reversed(self._stored) if other.startswith(flow) and other != ref]
        for other, form in [(one, form) for one in others for form in self._forms(one)]:
            aliases = form.get("aliases", {})
            names = [
                aliases[name.lower()]["names"] if name.lower() in aliases else [name]
                for name in form["sources"]
            ]
            room -= sum(map(len, names))
            if room < 0:
                break
            found.append({"ref": other, "names": names, "delim": form["csv"]["delim"]})
        return found

    def _forms(self, ref: str) -> list[dict[str, Any]]:
        """Return the compiled forms by which a version reads its files; an earlier release knew no layouts."""
        compiled = self._stored[ref].compiled
        return list(compiled.get("layouts", {}).values()) or [compiled]

    async def load(self, folder: Path) -> None:
        """Register every `*.toml` of a folder. Raises `ConfigurationError` with the file and place of the mistake."""
        seen: dict[str, Path] = {}
        for path in _files(folder):
            flow = _read(path)
            if flow.ref in seen:
                raise ConfigurationError(
                    f"{path}: {flow.ref} is in {seen[flow.ref].name} already: raise its version"
                )
            seen[flow.ref] = path
            self._files[flow.ref] = path, stamp(path)
            try:
                await self.register(flow, replace_unused=True, replace=self._dev)
            except FlowError as error:
                raise ConfigurationError(_located(path, error)) from None
            except FlowConflict:
                raise ConfigurationError(
                    f"{path}: runs were made with another {flow.ref}, and a version never changes: give this one "
                    "a new version, put the old content back, or start with another data folder"
                ) from None


def _place(flow: StoredFlow) -> tuple[str, ...]:
    """Return the sort key of a version: its flow, its registration, its name."""
    return flow.ref.partition(":")[0], flow.created_at, flow.ref


def _listed(refs: list[str]) -> str:
    return ("…, " if len(refs) > 10 else "") + ", ".join(refs[-10:])


def _flows_in(folder: Path) -> tuple[list[tuple[Path, Flow]], str]:
    """Return the flows of a folder with their files, and the error of the last invalid file."""
    found, broken = list[tuple[Path, Flow]](), ""
    try:
        paths = _files(folder)
    except ConfigurationError as error:
        return [], str(error)
    for path in paths:
        try:
            found.append((path, _read(path)))
        except ConfigurationError as error:
            broken = str(error)
    return found, broken


def _files(folder: Path) -> list[Path]:
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


def _read(path: Path) -> Flow:
    """Read the flow of a file. Raises `ConfigurationError` with the line of the mistake."""
    try:
        return read_toml(_text(path))
    except FlowError as error:
        raise ConfigurationError(_located(path, error)) from None
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


def _located(path: Path, error: FlowError) -> str:
    try:
        text = _text(path)
    except (OSError, UnicodeError):  # it was readable a moment ago
        text = ""
    return with_line(error, text).located(path)
