"""Proposes a target's flow version from samples, in a worker process as the server does."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from lume_async.errors import ConfigurationError
from lume_local._flow.definition import NAME, Flow, read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._mapping.proposal import ProposedFlow
from lume_local._mapping.target import CONVERTER, MappingTarget
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.extras import require
from lume_local._shared.protocol import Propose
from lume_local._shared.saved import text_of
from lume_local._trials.suggest import ask

_TABLE = re.compile(r"env:([A-Z][A-Z0-9_]*):(.+)")
_DBT = re.compile(r"(.+\.ya?ml)(?::([\w.]+))?")

Place = str | PathLike[str]


async def propose(
    target: Place | Mapping[str, Any],
    samples: Place | Sequence[Place],
    *,
    flow: str | None = None,
    version: str | None = None,
    source: Mapping[str, Any] | None = None,
    references: str | None = None,
    suggest: Place | None = None,
    encoding: str | None = None,
    delim: str | None = None,
) -> ProposedFlow:
    """Propose a flow version that reads the samples and fills the target.

    For each target column it gives the source column, the expression, the grade and the evidence. Grades below
    `medium` leave a column unmapped. Nothing is guessed by a model, and the same input gives the same proposal.

    Args:
        target: a JSON Schema (a dict, or the path of a `.json` file); a flow version (its definition, or the path of
            its `.toml` file), whose next version is proposed; a model of a dbt file, `schema.yml:model`; or a table,
            `env:WAREHOUSE_URL:public.customers`, of the database whose URL is in that environment variable.
        samples: one or more files, in any format that flows read.
        flow: the name of the flow; default: the target's.
        version: its version; default: the next one of a flow version, else `v1`.
        source: how the files are read, as `[source]` of a flow; detected by default.
        references: the environment variable with the database of a dbt model's `relationships`, which become checks.
        encoding: the encoding of CSV samples if `source` is not given; detected by default. `delim` likewise.
        suggest: a program that suggests source columns, too (see the guide); these are checked like all others.

    Raises:
        FlowError: the target or a sample can't be used; the message gives the reason.
        ConfigurationError: a file can't be read, or no worker process can be started.
    """
    require("rapidfuzz", "", "proposing a mapping")
    wanted = _target(target, flow, version, references or "")
    paths = [samples] if isinstance(samples, str | PathLike) else list(samples)
    if not paths:
        raise FlowError("samples", "are missing: pass at least one file")
    options = {"encoding": encoding, "delim": delim}
    given = [_sample(path, source) | {key: one for key, one in options.items() if one} for path in paths]
    try:
        async with WorkerPool().running() as pool:
            job = Propose(wanted.to_json(), given)
            found = CONVERTER.structure(await pool.propose(job), ProposedFlow)
            if suggest is None:
                return found
            # An absolute path, so that it is not looked up in `PATH`.
            suggestions = await ask(os.path.abspath(suggest), found)  # noqa: ASYNC240 - no file is read
            job = Propose(job.target, given, suggestions)
            return CONVERTER.structure(await pool.propose(job), ProposedFlow)
    except WorkerDied as error:
        raise ConfigurationError(f"no worker process can read the samples: {error}") from None


def _sample(path: Place, source: Mapping[str, Any] | None) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file():
        raise ConfigurationError(f"{file} is not a file: a sample is one")
    found: dict[str, Any] = {"path": os.path.realpath(file), "shown": str(path)}
    return found | ({"source": dict(source)} if source is not None else {})


def _target(
    given: Place | Mapping[str, Any], flow: str | None, version: str | None, references: str
) -> MappingTarget:
    from lume_local._mapping.targets import of_dbt, of_flow, of_schema

    if isinstance(given, Mapping):
        if "columns" in given and "flow" in given:
            return of_flow(_named(read_definition(dict(given)), flow), version)
        return of_schema(
            dict(given), flow or _name(str(given.get("title") or "")), version or "v1", "the schema"
        )
    text = fspath(given)
    if found := _TABLE.fullmatch(text):
        name = flow or _name(found[2].rpartition(".")[2])
        place = {"url_env": found[1], "table": found[2]}
        return MappingTarget(name, version or "v1", found[2], found[2].rpartition(".")[2], [], place=place)
    if found := _DBT.fullmatch(text):
        require("yaml", "dbt", "a dbt model as target")
        content = text_of(Path(found[1]), "")
        return of_dbt(content, found[2] or "", flow or "", version or "v1", found[1], references)
    path = Path(text)
    if path.suffix == ".toml":
        return of_flow(_named(read_toml(text_of(path, "")), flow), version)
    try:
        schema = json.loads(text_of(path, ""))
    except ValueError as error:
        raise FlowError("target", f"{text} is not a JSON Schema: {error}") from None
    if isinstance(schema, dict) and "columns" in schema and "flow" in schema:
        return of_flow(_named(read_definition(schema), flow), version)
    title = schema.get("title") if isinstance(schema, dict) else None
    return of_schema(schema, flow or _name(str(title or path.stem)), version or "v1", path.name)


def _named(target: Flow, name: str | None) -> Flow:
    """Refuse another name for the next version of a flow, since it would not be followed."""
    if name not in (None, target.name):
        raise FlowError(
            "flow", f"the proposal is the next version of {target.name!r}: leave out the name {name!r}"
        )
    return target


def _name(text: str) -> str:
    """Return a name for a flow from a title."""
    found = re.sub(r"[^A-Za-z0-9_-]+", "_", text.partition(".")[0]).strip("_-").lower()[:64]
    return found if NAME.fullmatch(found) else "proposal"
