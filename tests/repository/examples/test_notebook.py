"""examples/notebook.ipynb, executed by nbclient."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from examples.support import EXAMPLES
from faults.support import run_script

# Over IPC: no ports that somebody else could take meanwhile. The kernel ends with the process that started it.
EXECUTE = """
    import os, nbformat
    os.chdir({folder!r})
    from jupyter_client import AsyncKernelManager
    from nbclient import NotebookClient

    notebook = nbformat.read("notebook.ipynb", as_version=4)
    kernels = AsyncKernelManager(transport="ipc", ip="kernel", connection_file=os.path.abspath("kernel.json"))
    NotebookClient(notebook, km=kernels, timeout=40).execute()
    nbformat.write(notebook, "executed.ipynb")
"""


def cells_of(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text())["cells"]


def printed(cells: list[dict[str, Any]], cell: str) -> str:
    (found,) = [it for it in cells if it["id"] == cell]
    texts = [output.get("text") or output["data"]["text/plain"] for output in found["outputs"]]
    return "".join("".join(text) for text in texts)


def test_it_is_kept_without_outputs() -> None:
    code = [cell for cell in cells_of(EXAMPLES / "notebook.ipynb") if cell["cell_type"] == "code"]

    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.thorough
async def test_all_cells_run_and_run_again(tmp_path: Path) -> None:
    for folder in ("flows", "data"):
        shutil.copytree(EXAMPLES / folder, tmp_path / folder)
    shutil.copy(EXAMPLES / "notebook.ipynb", tmp_path)
    own = {"HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}

    for _ in range(2):
        done = await run_script(EXECUTE.format(folder=str(tmp_path)), env={**own, "PATH": os.environ["PATH"]})
        assert done.code == 0, done.err
        cells = cells_of(tmp_path / "executed.ipynb")
        assert printed(cells, "run") == "PARTIAL_FAILED 2,759 of 3,000 rows mapped\n"
        assert "   35  customer_id: repeats the value of an earlier row\n" in printed(cells, "reasons")
        assert "david.almeida1@example.org" in printed(cells, "result")
        assert printed(cells, "watch").splitlines()[-1] == "PARTIAL_FAILED"
