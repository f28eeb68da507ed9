"""Count how often a walk through the core crosses files, and show the walk.

    python tools/walk.py                      # this tree
    python tools/walk.py ../other-checkout    # another one, for a comparison

Two walks use the fake transport of `lume_async.testing`, so that they contain no network: one successful
`Client.run()`, and `LumeRun.wait()` that polls three times (TRANSFORMING, TRANSFORMING, SUCCEEDED). A third one goes
through the embedded server: `POST /v1/runs`, from the arrival of the request to its answer.

The walk lists the functions of the package that are entered, in order, each coroutine once (at its first step, not
when it resumes). A function counts if its code has `MEMORABLE` lines or more, including the `def` and excluding the
docstring: a reader has to open it, while the name of a shorter one is enough. The walk crosses files whenever two
consecutive functions are in different files. The figure in brackets includes short functions. `testing` is left out,
as it stands for the network and the time, and so is the listener of the server, which aiohttp calls while it reads.
"""

import asyncio
import importlib
import sys
import tempfile
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

MEMORABLE = 5
"""Minimum lines of code of a function that a reader has to open."""
FLOW = """
flow = "a"
version = "v1"
[source]
uri = "{source_path}"
format = "csv"
[target]
mapped = "{data}/out/{run_id}/mapped.parquet"
rejects = "{data}/out/{run_id}/rejects.csv"
[columns.id]
sql = '"id"'
type = "integer"
"""
NETWORK = ("testing/_fakes", "_http/listener")
"""The files that stand for the network and the time."""
STATUSES = ("TRANSFORMING", "TRANSFORMING", "SUCCEEDED")


@dataclass(frozen=True)
class Step:
    """One entered function."""

    file: str
    function: str
    lines: int


class Tracer:
    """Records the functions below a folder that are entered while an awaitable runs.

    Args:
        folder: the folder of a package.
        first: the function that starts the walk, limited to its task; by default the awaitable itself.
    """

    def __init__(self, folder: Path, first: str | None = None) -> None:
        self.steps: list[Step] = []
        self._prefix, self._first = f"{folder}/", first
        self._task: asyncio.Task[Any] | None = None
        self._seen: set[FrameType] = set()  # a resumed coroutine enters its frame again

    async def follow(self, walk: Awaitable[Any]) -> Any:
        """Await it, and record the steps."""
        sys.setprofile(self._profile)
        try:
            return await walk
        finally:
            sys.setprofile(None)
            self._seen.clear()

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(self._prefix) or frame in self._seen:
            return
        if self._first is not None:
            task = asyncio.current_task()
            if code.co_qualname == self._first:
                self._task = task
            if task is None or task is not self._task:
                return
        self._seen.add(frame)
        file = code.co_filename.removeprefix(self._prefix).removesuffix(".py")
        if file in NETWORK:
            return
        self.steps.append(Step(file, code.co_qualname, lines_of(code)))


def lines_of(code: CodeType) -> int:
    """Return the number of lines with code in a function, including its `def`."""
    return len({line for *_, line in code.co_lines() if line is not None})


def memorable(steps: Iterable[Step]) -> list[Step]:
    """Return the steps that a reader has to open."""
    return [step for step in steps if step.lines >= MEMORABLE]


def crossings(steps: Iterable[Step]) -> int:
    """Count consecutive steps in different files."""
    return sum(before.file != after.file for before, after in pairwise(steps))


async def walks(testing: ModuleType) -> dict[str, list[Step]]:
    """Return both walks through the client, in the package of this module."""
    folder = Path(str(sys.modules[testing.__name__.partition(".")[0]].__file__)).parent
    answers = [testing.FakeAnswer(201, testing.run_json("run_1", "CREATED"))]
    answers += [testing.FakeAnswer(200, testing.run_json("run_1", status)) for status in STATUSES]
    client, transport = testing.fake_client(answers * 2)
    await (await client.run("customer_cleaner:v1", "customers.csv")).wait()  # warm-up for one-time work
    submitting, waiting = Tracer(folder), Tracer(folder)
    run = await submitting.follow(client.run("customer_cleaner:v1", "customers.csv"))
    await waiting.follow(run.wait())
    assert len(transport.requests) == 2 * (1 + len(STATUSES)), "one submission and three polls"
    await client.aclose()
    return {"Client.run()": submitting.steps, "LumeRun.wait(), three polls": waiting.steps}


async def server_walk(local: ModuleType, folder: str) -> dict[str, list[Step]]:
    """Return the walk through the server, with a folder that holds a flow and a source."""
    tracer = Tracer(Path(str(local.__file__)).parent, "Front.handle")
    async with (
        local.serve(flows=folder, data=f"{folder}/data", roots=[folder]) as server,
        server.client() as client,
    ):
        await (await client.run("a:v1", "a.csv")).wait()  # warm-up for one-time work
        run = await tracer.follow(client.run("a:v1", "a.csv", force_rerun=True))
        await run.wait()
    return {"POST /v1/runs": tracer.steps}


def shown(name: str, steps: list[Step]) -> str:
    """Return the walk as text: a line for each visit of a file."""
    walk = memorable(steps)
    lines = [f"{name}: crosses files {crossings(walk)} times ({crossings(steps)})"]
    for file, visit in groupby(walk, key=lambda step: step.file):
        lines.append(f"    {file:30}{', '.join(step.function for step in visit)}")
    return "\n".join(lines)


def main(root: Path) -> None:
    """Print the walks through the checkout at `root`."""
    sys.path.insert(0, str(root))
    found = asyncio.run(walks(importlib.import_module("lume_async.testing")))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.toml").write_text(FLOW)
        Path(folder, "a.csv").write_text("id\n1\n")
        found |= asyncio.run(server_walk(importlib.import_module("lume_local"), folder))
    print("\n\n".join(shown(name, steps) for name, steps in found.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve())
