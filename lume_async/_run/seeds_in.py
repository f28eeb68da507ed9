"""Sends data of a program as seeds for one run, after a check against the flow version."""

import csv
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from anyio import to_thread

from lume_async._base import arguments
from lume_async._http.sender import Sender
from lume_async._run.data_in import definition_at
from lume_async._run.row_files import RowFormat, csv_format, local_file
from lume_async._run.row_text import CsvDialect
from lume_async._run.transfer import SeedData
from lume_async._run.upload import upload
from lume_async.errors import InvalidRequestError
from lume_async.models import plain_text

_UPLOADED = "upload://"
_UNSENT = "nothing was uploaded"


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
