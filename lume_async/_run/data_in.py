"""Sends data of a program to the server: as the source of a run, to be processed once, or as its seeds."""

import csv
import os
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from attrs import evolve

from lume_async._base import arguments
from lume_async._http.sender import Sender
from lume_async._run.once import earlier_runs, holder, key_of
from lume_async._run.row_files import RowFormat, csv_format, format_for, local_file
from lume_async._run.row_text import CsvDialect
from lume_async._run.submit import StartedRun, submit
from lume_async._run.transfer import OnProgress, Reporter, SeedData, SourceData, sha256_of
from lume_async._run.upload import upload
from lume_async._wire import flow_endpoints
from lume_async.errors import InvalidRequestError, NotSupportedError
from lume_async.models import RunRequest, plain_text

_UPLOADED = "upload://"
_UNSENT = "nothing was uploaded"


async def send_data(
    sender: Sender,
    data: SourceData,
    *,
    name: str | None,
    flow_version: str | None,
    progress: OnProgress | None,
) -> str:
    """Send data to the server; return its `source_path`. Raises the errors of `upload` and `local_file`."""
    if name is not None:
        arguments.text(name, "name", InvalidRequestError)
    if flow_version is not None:
        plain_text(flow_version, "flow_version")
    Reporter(progress)  # checks it, before anything is sent
    async with local_file(data, partial(_format, sender, flow_version), "source") as file:
        return await upload(sender, file, flow_version, name=name, progress=progress)


async def run_data(
    sender: Sender, request: RunRequest, data: SourceData, progress: OnProgress | None
) -> StartedRun:
    """Send data, the source of the run, and start that; or find the run that has processed the same data."""
    async with local_file(data, partial(_format, sender, request.flow_version, request.layout)) as file:
        sha256 = await sha256_of(file)
        name = f"data{''.join(file.suffixes[-2:])}"  # the same for the same content
        source = await upload(
            sender,
            file,
            request.flow_version,
            name=name,
            by_content=True,
            sha256=sha256,
            progress=progress,
        )
    request = evolve(request, source_path=source)
    key = request.idempotency_key
    if key is None and not request.force_rerun:
        same = {"flow_version": request.flow_version, "source_path": source}
        own = (request.seeds or None), request.layout
        earlier = await earlier_runs(sender, same, lambda run: (run.seeds, run.layout) == own)
        if (held := holder(earlier)) is not None:
            return held
        content = f"{request.flow_version} {source} {sha256}"
        if request.seeds:  # the same content has the same path
            content += f" {sorted(request.seeds.items())}"
        if request.layout:
            content += f" layout {request.layout}"
        key = key_of("data", content, earlier)
    return await submit(
        sender, request, key or uuid.uuid4().hex, own_key=key is not None, on_duplicate="attach"
    )


async def definition_at(sender: Sender, ref: str) -> dict[str, Any] | None:
    """Return the definition of a flow version; None if the server does not show it."""
    name, _, version = ref.partition(":")
    try:
        return (await sender.send(flow_endpoints.flow_version(name, version))).definition
    except NotSupportedError:
        return None


async def _format(sender: Sender, flow_version: str | None, layout: str | None = None) -> RowFormat:
    return format_for(None if flow_version is None else await definition_at(sender, flow_version), layout)


async def sent_seeds(sender: Sender, flow_version: str, seeds: SeedData) -> dict[str, str]:
    """Send the seeds; return their source paths. Raises `InvalidRequestError`, `ApiError`.

    The same content has the same path each time, so that the same run is recognized.
    """
    arguments.instance(seeds, "seeds", Mapping, "a dict of seeds by their names", InvalidRequestError)
    for name in seeds:
        plain_text(name, "seeds")
    paths = {
        name: str(data)
        for name, data in seeds.items()
        if isinstance(data, str) and data.startswith(_UPLOADED)
    }
    for path in paths.values():
        plain_text(path, "seeds")
    async with AsyncExitStack() as stack:
        files: dict[str, Path] = {}
        for name, data in seeds.items():
            if name not in paths:
                local = local_file(data, _rows_as, f"seeds[{name!r}]")
                files[name] = await stack.enter_async_context(local)
        definition = await definition_at(sender, flow_version) if seeds else None
        for name in seeds if definition is not None else ():
            seed = _declared(definition, flow_version, name)
            if name in files:
                await to_thread.run_sync(_check_key, files[name], name, seed.get("key"))
        for name, file in files.items():
            paths[name] = await upload(sender, file, None, name="seed.csv", by_content=True)
    return {name: paths[name] for name in seeds}


async def _rows_as() -> RowFormat:
    return csv_format(CsvDialect())


def _declared(definition: Mapping[str, Any] | None, flow_version: str, name: str) -> Mapping[str, Any]:
    """Return a flow version's declaration of a seed. Raises `InvalidRequestError`."""
    declared = (definition or {}).get("seeds") or {}
    if name not in declared:
        known = ", ".join(sorted(declared)) or "none"
        raise InvalidRequestError(f"seeds: {flow_version} has no seed {name!r}; it has {known}; {_UNSENT}")
    seed: Mapping[str, Any] = declared[name]
    if seed.get("per_run") is not True:
        raise InvalidRequestError(
            f"seeds: the seed {name!r} of {flow_version} is the same for all runs: write per_run = true below "
            f"[seeds.{name}] in a new version; {_UNSENT}"
        )
    return seed


def _check_key(file: Path, name: str, key: object) -> None:
    """Check the header, if it can be read here. Raises `InvalidRequestError`."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            header = [column.strip() for column in next(csv.reader(text), [])]
    except (ValueError, csv.Error):
        return  # the server reports the fault
    folded = [column.lower() for column in header]
    if isinstance(key, str) and key not in header and folded.count(key.lower()) != 1:
        shown = ", ".join(map(repr, header)) or "none"
        raise InvalidRequestError(
            f"seeds: {name} needs one column {key!r}; {os.fspath(file.name)!r} has {shown:.200}; {_UNSENT}"
        )
