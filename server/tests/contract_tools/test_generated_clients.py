"""Clients that other people's tools make of openapi.yaml, driven against the embedded server."""

import json
from pathlib import Path
from typing import Any

import pytest
from components import component
from contract_tools.support import DESCRIPTION, KEY, run, served

SOURCE = "id,Email,Age\n1,ann@example.org,31\nx,bob@example.org,5\n"
CONFIG = """
post_hooks: []  # it would format with a ruff of its own
content_type_overrides:  # which it does not know
  application/yaml: text/plain
  application/partial-upload: application/octet-stream
"""
HERE = Path(__file__).parent


def driven(driver: str, python: str, folder: Path) -> dict[str, Any]:
    """What the program prints that uses the generated package in that folder."""
    (folder / "sent.csv").write_text(SOURCE)
    with served(folder / "home") as url:
        # A copy: Python finds the generated package beside the program.
        (folder / "drive.py").write_bytes((HERE / driver).read_bytes())
        done = run(python, str(folder / "drive.py"), url, KEY, str(folder / "sent.csv"), folder=folder)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def check(said: dict[str, Any]) -> None:
    run = said["run"]
    assert said["stored"] == len(SOURCE)
    assert (run["status"], run["run_metadata"]) == ("PARTIAL_FAILED", {"ticket": {"n": [1, None]}})
    assert (run["metadata"]["metrics"]["rows_mapped"], run["metadata"]["metrics"]["rows_rejected"]) == (1, 1)
    assert "bob@example.org" in said["rejects"]
    status, problem = said["again"]
    assert (status, problem["type"]) == (409, "urn:lume:problem:already-processed")
    assert problem["run_id"] == run["id"]
    assert said["listed"] == [run["id"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_the_client_of_openapi_python_client(folder: Path) -> None:
    program = component("openapi-python-client")
    (folder / "config.yaml").write_text(CONFIG)
    command = [
        program,
        "generate",
        "--path",
        str(DESCRIPTION),
        "--output-path",
        str(folder / "lume_generated"),
    ]
    made = run(*command, "--config", str(folder / "config.yaml"), "--meta", "none", folder=folder)
    assert made.returncode == 0, made.stdout
    # It warns of what it leaves out: an operation, a body, a schema.
    assert "warning" not in made.stdout.lower(), made.stdout
    check(driven("drive_openapi_python_client.py", str(Path(program).with_name("python")), folder))


@pytest.mark.thorough  # a Java for the same document, with the same answers
@pytest.mark.timeout(120)
def test_the_client_of_openapi_generator(folder: Path) -> None:
    program = component("openapi-generator-cli")
    command = [program, "generate", "-i", str(DESCRIPTION), "-g", "python", "-o", str(folder)]
    made = run(*command, "--package-name", "lume_generated", folder=folder)
    assert made.returncode == 0, made.stdout
    check(driven("drive_openapi_generator.py", str(Path(program).with_name("python")), folder))
