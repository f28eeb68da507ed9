"""Runs the user's program that suggests source columns: JSON on its stdin, JSON on its stdout."""

import json
import subprocess
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_async.errors import ConfigurationError
from lume_local._mapping.proposal import ProposedFlow
from lume_local._shared.on_error import on_error

SECONDS = 60.0
MOST_BYTES = 1024 * 1024
"""The maximum size of the program's input and output."""
_KEPT, _MOST = 4096, 2000
"""The bytes of its stderr that are kept for a message, and the maximum number of suggestions."""


async def ask(program: str, proposal: ProposedFlow) -> list[dict[str, Any]]:
    """Return the program's suggestions for a proposal. Raises `ConfigurationError`."""
    return read(await _bounded(program, json.dumps(question(proposal)).encode()), program)


async def _bounded(program: str, given: bytes) -> bytes:
    """Return the program's output within the time limit. Raises `ConfigurationError`."""
    try:
        with anyio.fail_after(SECONDS):
            return await _answer(program, given)
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
        "unmapped": proposal.unmapped,
        "unused": proposal.unused,
    }


async def _answer(program: str, given: bytes) -> bytes:
    """Return the program's output. It is killed if it writes too much, or the caller is cancelled."""
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
                out = await _read_bounded(stdout, program)
        code = await process.wait()
    if code != 0:
        said = elided(errors.decode(errors="replace").strip().rpartition("\n")[2], 200)
        raise ConfigurationError(f"{program} ended with exit code {code}" + (f": {said}" if said else ""))
    return out


async def _write(stdin: ByteSendStream, given: bytes) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it does not read the question
        await stdin.send(given)
        await stdin.aclose()


async def _drain(stderr: ByteReceiveStream, errors: bytearray) -> None:
    """Keep the last part of its stderr."""
    async for block in stderr:
        errors[:] = (errors + block)[-_KEPT:]


async def _read_bounded(stdout: ByteReceiveStream, program: str) -> bytes:
    out = bytearray()
    async for block in stdout:
        out += block
        if len(out) > MOST_BYTES:
            raise ConfigurationError(f"{program} wrote more than {MOST_BYTES:,} bytes: it was stopped")
    return bytes(out)


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
