"""The server's connection to a cluster: one process (`_shards/engines/broker`), restarted when it ends."""

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import orjson
from anyio.abc import TaskGroup

from lume_async._base.tasks import task_group
from lume_local._runs.health import Health
from lume_local._runs.workers.child import ChildProcess, Secrets, child, environment

START_LIMIT = 120.0
"""Seconds until it must be ready: a JVM starts, workers join. An unreachable address fails far sooner."""
RETRY = 5.0
"""Seconds between the end of one process and the start of the next."""
_PATIENCE = 5.0
_KEPT = 2000
_WHERE = "the engine"
_PROGRAM = "from lume_local._shards.engines.broker import main; main()"


class EngineFailed(Exception):
    """The engine can't be used. The message says why."""


class EngineProcess:
    """The process that connects to an engine. Use it by its `running` block.

    Args:
        url: the URL of the engine. It may hold a secret, so it is on no command line.
        folder: the server's folder, which the workers of the cluster must see.
        secrets: the server's own, which must not be in its environment.
    """

    def __init__(self, url: str, folder: Path, health: Health, secrets: Secrets = frozenset) -> None:
        self._order_url, self._folder, self._health, self._secrets = url, folder, health, secrets
        self._socket = ""
        self.slots = 1

    @property
    def url(self) -> str:
        return f"broker://{self._socket}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the process running while the block lasts. Raises `EngineFailed` if the first start fails."""
        # A short path: a socket's path has at most about 100 bytes.
        home = Path(tempfile.mkdtemp(prefix="lume-"))
        self._socket = str(home / "engine")
        probe = self._folder / f"probe-{uuid.uuid4().hex}"
        try:
            probe.write_text(probe.name)
            async with task_group() as tasks:
                process = await self._started(tasks, probe)
                tasks.start_soon(self._keep_up, tasks, process, probe)
                yield
                tasks.cancel_scope.cancel()
        finally:
            probe.unlink(missing_ok=True)
            shutil.rmtree(home, ignore_errors=True)

    async def _keep_up(self, tasks: TaskGroup, process: ChildProcess, probe: Path) -> None:
        while True:
            try:
                await process.wait()
            finally:
                await _ended(process)
            self._health.trouble(_WHERE, "the connection was lost")
            await anyio.sleep(RETRY)
            while True:
                try:
                    process = await self._started(tasks, probe)
                    break
                except EngineFailed as error:
                    self._health.trouble(_WHERE, str(error))
                    await anyio.sleep(RETRY)
            self._health.works(_WHERE)

    async def _started(self, tasks: TaskGroup, probe: Path) -> ChildProcess:
        """Start a process and wait until it serves. Raises `EngineFailed`."""
        with suppress(FileNotFoundError):
            os.unlink(self._socket)
        try:
            process = await child(_PROGRAM, environment(self._secrets))
        except OSError as error:
            raise EngineFailed(f"its process can't be started: {error.strerror or error}") from error
        said = _Said()
        tasks.start_soon(said.read, process)
        try:
            order = {"url": self._order_url, "socket": self._socket, "probe": str(probe)}
            process.stdin.write(orjson.dumps(order) + b"\n")
            with anyio.move_on_after(START_LIMIT):
                line = await process.stdout.readline()
                if not line.endswith(b"\n"):
                    await _ended(process)
                    raise EngineFailed(f"the process that connects to the engine has ended: {said.last_line}")
                answer = orjson.loads(line)
                if "error" in answer:
                    raise EngineFailed(answer["error"])
                self.slots = max(answer["slots"], 1)
                return process
            raise EngineFailed(f"the engine was not ready within {START_LIMIT:g} s")
        except BaseException:
            await _ended(process)
            raise


class _Said:
    def __init__(self) -> None:
        self._end = b""

    async def read(self, process: ChildProcess) -> None:
        while block := await process.stderr.read(_KEPT):
            self._end = (self._end + block)[-_KEPT:]

    @property
    def last_line(self) -> str:
        return self._end.decode(errors="replace").strip().rpartition("\n")[2] or "it said nothing"


async def _ended(process: ChildProcess) -> None:
    """Close its stdin, which ends it, and kill it if it does not end, even if the caller is cancelled."""
    with anyio.CancelScope(shield=True):
        process.stdin.close()
        with anyio.move_on_after(_PATIENCE):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
