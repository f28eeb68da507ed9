"""Proposes a target's flow version from samples, in a worker process as the server does.

A program of the user may suggest source columns: JSON on its stdin, JSON on its stdout.
"""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream
from attrs import evolve

from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_async.errors import ConfigurationError
from lume_async.models import JsonObject
from lume_local._flow.definition import NAME, Flow, read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._mapping import toml_text
from lume_local._mapping.proposal import ProposedFlow
from lume_local._mapping.target import CONVERTER, MappingTarget
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.failing import on_error, require
from lume_local._shared.protocol import Propose
from lume_local._shared.saved import text_of

_TABLE = re.compile(r"env:([A-Z][A-Z0-9_]*):(.+)")
_VERSION = re.compile(r"""^version\s*=\s*("[^"\n]*"|'[^'\n]*')""", re.MULTILINE)
_YAML = re.compile(r"(.+\.ya?ml)(?::(.+))?")
SECONDS = 60.0
MOST_BYTES = 1024 * 1024
"""The maximum size of the program's input and output."""
_KEPT, _MOST = 4096, 2000
"""The bytes of its stderr that are kept for a message, and the maximum number of suggestions."""

Place = str | PathLike[str]


async def propose(
    target: Place | JsonObject,
    samples: Place | Sequence[Place],
    *,
    flow: str | None = None,
    version: str | None = None,
    source: JsonObject | None = None,
    references: str | None = None,
    suggest: Place | None = None,
    encoding: str | Mapping[str, str] | None = None,
    delim: str | None = None,
    layout: str | None = None,
    footers: Sequence[Place] = (),
) -> ProposedFlow:
    """Propose a flow version that reads the samples and fills the target.

    For each target column it gives the source column, the expression, the grade and the evidence. Grades below
    `medium` leave a column unmapped. Nothing is guessed by a model, and the same input gives the same proposal.
    Samples in the same form share a layout. A flow version that reads all samples stays as it is.

    Args:
        target: a JSON Schema (a dict, or the path of a `.json` file); a flow version (its definition, or the path of
            its `.toml` file), whose next version has one more layout; an object of a data contract,
            `customers.odcs.yaml:customers`, or a model of a dbt file, `schema.yml:model`; or a table,
            `env:WAREHOUSE_URL:public.customers`, of the database whose URL is in that variable.
        samples: one or more files, in any format that flows read.
        flow: the name of the flow; default: the target's.
        version: its version; default: the next one of a flow version, that of a contract, else `v1`.
        source: how the files are read, as `[source]` of a flow; detected by default.
        references: the environment variable with the database of a contract's or a dbt model's `relationships`, which
            become checks.
        encoding: the encoding of CSV samples if `source` is not given, or a dict with that of single samples by their
            paths; detected by default.
        delim: their delimiter, likewise.
        layout: the name of the new layout, which is added even if the version reads the samples; default: that of a
            sample.
        footers: the samples whose last lines are no records, where the proposal asks about them.
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
    names = [fspath(one) for one in paths]
    confirmed = {fspath(one) for one in footers}
    encodings = encoding if isinstance(encoding, Mapping) else dict.fromkeys(names, encoding)
    for place, own in (("footers", confirmed), ("encoding", encodings.keys())):
        if unknown := own - {*names}:
            raise FlowError(place, f"{min(unknown)} is none of the samples")
    given = []
    for path, name in zip(paths, names, strict=True):
        options = {"encoding": encodings.get(name), "delim": delim, "footer": name in confirmed}
        given.append(_sample(path, source) | {key: one for key, one in options.items() if one})
    try:
        async with WorkerPool().running() as pool:
            job = Propose(wanted.to_json(), given, layout=layout or "")
            found = CONVERTER.structure(await pool.propose(job), ProposedFlow)
            if suggest is not None:
                # An absolute path, so that it is not looked up in `PATH`.
                suggestions = await ask(os.path.abspath(suggest), found)  # noqa: ASYNC240 - no file is read
                job = evolve(job, suggestions=suggestions)
                found = CONVERTER.structure(await pool.propose(job), ProposedFlow)
    except WorkerDied as error:
        raise ConfigurationError(f"no worker process can read the samples: {error}") from None
    if isinstance(target, Mapping) or not fspath(target).endswith(".toml"):
        return found
    return _behind(text_of(Path(target), ""), found)


def _behind(given: str, found: ProposedFlow) -> ProposedFlow:
    """Return the proposal with its new layouts behind the given text of the version, whose comments stay.

    If that is not all that changes, a doubt says that they are lost.
    """
    text = _VERSION.sub(f"version = {toml_text.value(found.definition['version'])}", given, count=1)
    names = (one.name for one in found.layouts if one.is_new and one.name)
    at = min((n for name in names if (n := found.toml.find(f"\n# {name}: as in ")) >= 0), default=None)
    if at is not None:
        head, _, _ = found.toml.partition("\nflow = ")
        seeds = {
            name: one for name, one in found.definition.get("seeds", {}).items() if one["path"] in found.seeds
        }
        tables = ["\n".join(["", *toml_text.table(f"seeds.{name}", one)]) for name, one in seeds.items()]
        text = "\n".join([text.rstrip(), "", head, *tables, ""]) + found.toml[at:]
    with suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(text) == found.definition:
            return evolve(found, toml=text)
    lost = ["the comments of the version before are not in this one: copy those that you need"]
    return evolve(found, doubts=[*found.doubts, *(lost if "#" in given else ())])


def _sample(path: Place, source: JsonObject | None) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file():
        raise ConfigurationError(f"{file} is not a file: a sample is one")
    found: dict[str, Any] = {"path": os.path.realpath(file), "shown": str(path)}
    return found | ({"source": dict(source)} if source is not None else {})


def _target(
    given: Place | JsonObject, flow: str | None, version: str | None, references: str
) -> MappingTarget:
    """Return the target of a mapping: a flow, a JSON Schema, a contract, a dbt model, or a table."""
    from lume_local._mapping.contract import is_contract, of_contract
    from lume_local._mapping.target import of_dbt, of_flow, of_schema, of_yaml

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
    if found := _YAML.fullmatch(text):
        require("yaml", "contracts", "a data contract or a dbt model as target")
        document, part = of_yaml(text_of(Path(found[1]), ""), found[1]), found[2] or ""
        if is_contract(document):
            return of_contract(document, part, flow or "", version, found[1], references)
        return of_dbt(document, part, flow or "", version or "v1", found[1], references)
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


async def ask(program: str, proposal: ProposedFlow) -> list[dict[str, Any]]:
    """Return the program's suggestions for a proposal. Raises `ConfigurationError`."""
    return read(await _bounded(program, json.dumps(question(proposal)).encode()), program)


async def _bounded(program: str, given: bytes) -> bytes:
    """Return the program's output within the time limit. Raises `ConfigurationError`."""
    try:
        with anyio.fail_after(SECONDS):
            errors = bytearray()
            async with await anyio.open_process([program], stderr=subprocess.PIPE) as process:
                stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
                assert stdin is not None
                assert stdout is not None
                assert stderr is not None
                with on_error(process.kill):
                    async with task_group() as tasks:
                        tasks.start_soon(_write, stdin, given)
                        tasks.start_soon(_drain, stderr, errors)
                        written = bytearray()
                        async for block in stdout:
                            written += block
                            if len(written) > MOST_BYTES:
                                raise ConfigurationError(
                                    f"{program} wrote more than {MOST_BYTES:,} bytes: it was stopped"
                                )
                        out = bytes(written)
                code = await process.wait()
            if code != 0:
                said = elided(errors.decode(errors="replace").strip().rpartition("\n")[2], 200)
                raise ConfigurationError(
                    f"{program} ended with exit code {code}" + (f": {said}" if said else "")
                )
            return out
    except TimeoutError:
        raise ConfigurationError(f"{program} took longer than {SECONDS:g} s: it was stopped") from None
    except OSError as error:
        raise ConfigurationError(f"{program} can't be started: {error.strerror or error}") from None


def question(proposal: ProposedFlow) -> dict[str, Any]:
    """Return the program's input: the columns of target and samples, and the present proposal."""
    return {
        "target": [
            {
                "name": column.name,
                **column.definition,
                "proposed": None if column.chosen is None else column.chosen.sources,
                "grade": None if column.chosen is None else column.chosen.grade,
            }
            for column in proposal.columns
        ],
        "samples": [{"name": one.name, "columns": one.columns} for one in proposal.samples],
        "unmapped": _of_all(one.unmapped for one in proposal.layouts),
        "unused": _of_all(one.unused for one in proposal.layouts),
    }


def _of_all(several: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(chain(*several)))


async def _write(stdin: ByteSendStream, given: bytes) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it does not read the question
        await stdin.send(given)
        await stdin.aclose()


async def _drain(stderr: ByteReceiveStream, errors: bytearray) -> None:
    """Keep the last part of its stderr."""
    async for block in stderr:
        errors[:] = (errors + block)[-_KEPT:]


def read(answer: bytes, program: str) -> list[dict[str, Any]]:
    """Return the suggestions in an answer. Raises `ConfigurationError` if it is not as the guide says."""
    try:
        found = json.loads(answer)
    except ValueError as error:
        raise ConfigurationError(f"{program} did not write JSON: {error}") from None
    entries = found.get("suggestions") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ConfigurationError(f'{program} must write {{"suggestions": […]}}')
    if len(entries) > _MOST:
        raise ConfigurationError(f"{program} made {len(entries):,} suggestions; the maximum is {_MOST:,}")
    return [_suggestion(entry, program) for entry in entries]


def _suggestion(entry: Any, program: str) -> dict[str, Any]:
    if isinstance(entry, dict) and isinstance(entry.get("target"), str):
        sources = entry.get("sources", entry.get("source"))
        sources = [sources] if isinstance(sources, str) else sources
        sql = entry.get("sql")
        are_names = isinstance(sources, list) and sources and all(isinstance(one, str) for one in sources)
        if are_names and (sql is None or isinstance(sql, str)):
            return {"target": entry["target"], "sources": sources, "sql": sql}
    shown = elided(json.dumps(entry), 200)
    raise ConfigurationError(
        f'{program}: {shown} is not {{"target": "…", "sources": ["…"], "sql": "…" or null}}'
    )
