"""Sends data of a program to the server as the source of a run, to be processed once."""

import uuid
from functools import partial
from typing import Any

from attrs import evolve

from lume_async._base import arguments
from lume_async._http.sender import Sender
from lume_async._run.once import earlier_runs, holder, key_of
from lume_async._run.row_files import RowFormat, format_for, local_file
from lume_async._run.submit import StartedRun, submit
from lume_async._run.transfer import OnProgress, Reporter, SourceData, sha256_of
from lume_async._run.upload import upload
from lume_async._wire import flow_endpoints
from lume_async.errors import InvalidRequestError, NotSupportedError
from lume_async.models import RunRequest, plain_text


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
