"""A real IPython kernel: cells call while its loop runs in the same thread, and are interrupted."""

import json
import os
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from faults.support import run_script

# A cell that is called `interrupt-…` is interrupted once the service was asked for a run of that name.
CELLS = {
    "imports": """
import asyncio, warnings
warnings.simplefilter("error", RuntimeWarning)
import lume_async, lume_sync as lume
client = lume.Client()
asyncio.get_running_loop().is_running()
""",
    "call": """
print(lume.run("f:v1", "1").wait().status, client.run_status("done").status)
""",
    "iterate": """
print([run.status.value for run in client.attach("done-2").watch()])
with client.monitor() as monitor:
    for number in range(3):
        monitor.add(f"done-{number}")
    for number, event in enumerate(monitor, 1):
        print(event.run.status)
        if number == 3:
            break
""",
    "await": """
async def both():
    return lume.run_status("done").status.value, (await lume_async.run_status("done")).status.value
print((await lume_async.run("f:v1", "3")).id, await both())
""",
    "interrupt-wait": 'client.attach("interrupt-wait").wait(poll_interval=0.01)',
    "interrupt-pause": 'client.attach("interrupt-pause").wait(poll_interval=60)',
    "interrupt-watch": """
for run in client.watch("interrupt-watch", poll_interval=0.01):
    print(run.status)
""",
    "interrupt-monitor": """
with client.monitor(poll_interval=0.01) as monitor:
    monitor.add("interrupt-monitor")
    for event in monitor:
        print(event.run.status)
""",
    "interrupt-await": 'await lume_async.attach("interrupt-await").wait(poll_interval=0.01)',
    "after": """
print(client.run_status("done-after").status, (await lume_async.run_status("done")).status)
import time
time.sleep(0.2)  # time in which a look that goes on would be seen
""",
}

EXECUTE = """
    import asyncio, json, os, time
    import nbformat
    from jupyter_client import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from sync.service import serving

    async def execute(notebook, service, name, source):
        cell = nbformat.v4.new_code_cell(source)
        notebook.nb.cells = [cell]
        running = asyncio.create_task(notebook.async_execute_cell(cell, 0))
        told = dict(stdout="", stderr="", error=None, seconds=0.0)
        if name.startswith("interrupt"):
            prints = "print" in source  # its words are on their way when the server has answered
            while not service.count(name) or (prints and not cell.outputs):
                assert not running.done(), cell.outputs
                await asyncio.sleep(0.01)
            begun = time.monotonic()
            await notebook.km.interrupt_kernel()
        try:
            await running
        except CellExecutionError as failure:
            told["error"] = failure.ename
        if name.startswith("interrupt"):
            told["seconds"] = time.monotonic() - begun
        for output in cell.outputs:
            if output.output_type == "stream":
                told[output.name] += output.text
        return told

    async def main():
        # Over IPC: no ports that somebody else could take. The kernel ends with the process that started it.
        kernel = AsyncKernelManager(transport="ipc", ip="kernel", connection_file=os.path.abspath("kernel.json"))
        notebook = NotebookClient(nbformat.v4.new_notebook(), km=kernel, timeout=20)
        with serving() as service:
            os.environ["LUME_BASE_URL"] = service.url
            async with notebook.async_setup_kernel():
                told = {name: await execute(notebook, service, name, source) for name, source in cells.items()}
            told["looks"] = [run_id for _, run_id in service.looks]
        with open("told.json", "w") as file:
            json.dump(told, file)

    os.chdir(folder)
    asyncio.run(main())
"""


@pytest.mark.thorough
async def test_cells_call_and_are_interrupted(tmp_path: Path) -> None:
    own = {name: str(tmp_path) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
    source = f"cells, folder = {CELLS!r}, {str(tmp_path)!r}\n"
    done = await run_script(source + dedent(EXECUTE), env={**own, "PATH": os.environ["PATH"]})
    assert done.code == 0, done.err

    told: dict[str, Any] = json.loads((tmp_path / "told.json").read_text())
    looks = told.pop("looks")
    assert {name: cell["stderr"] for name, cell in told.items() if cell["stderr"]} == {}
    assert {name: cell["stdout"].splitlines() for name, cell in told.items() if cell["stdout"]} == {
        "call": ["SUCCEEDED SUCCEEDED"],
        "iterate": ["['SUCCEEDED']", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"],
        "await": ["done-3 ('SUCCEEDED', 'SUCCEEDED')"],
        "interrupt-watch": ["TRANSFORMING"],
        "interrupt-monitor": ["TRANSFORMING"],
        "after": ["SUCCEEDED SUCCEEDED"],
    }
    interrupted = {name: cell for name, cell in told.items() if name.startswith("interrupt")}
    awaited = interrupted.pop("interrupt-await")
    assert awaited["error"] == "CancelledError"  # the kernel's own way to interrupt what is awaited
    assert {cell["error"] for cell in interrupted.values()} == {"KeyboardInterrupt"}
    assert {name: cell["seconds"] for name, cell in interrupted.items() if cell["seconds"] > 2} == {}
    assert [run_id for run_id in looks[looks.index("done-after") :] if run_id.startswith("interrupt")] == []
    assert {cell["error"] for name, cell in told.items() if not name.startswith("interrupt")} == {None}
