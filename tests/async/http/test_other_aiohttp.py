"""The client over other aiohttp than the installed one: the oldest allowed, and ones without what nobody promises."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path

import aiohttp
import pytest
from components import ROOT

CORE = (
    "tests/async/http/test_transport.py",
    "tests/faults/test_connections.py",
    "tests/faults/test_closing.py",
)
MORE = (
    *("tests/faults/test_stalls.py", "tests/faults/test_uploads.py", "tests/faults/test_bodies.py"),
    *("tests/faults/test_http_shapes.py", "tests/async/http/test_time_limits.py"),
)
PRIVATE = (
    *("_request", "_retry_connection", "_factory", "_create_connection", "_wrap_create_connection"),
    *("_payload", "_read_nowait", "_exception", "_should_close", "_acquired", "_conns"),
)
"""aiohttp's names that such a client is tempted to use."""
LESS = "not half_way and not single_bytes and not (header and then) and not as_often_as_is_counted"
"""Without our protocol, aiohttp repeats a GET itself, and a malformed body ends with its time limit."""


def oldest(_: Path) -> Path:
    """The folder with the oldest aiohttp that is allowed; the test is skipped where it is missing."""
    (wanted,) = (line for line in requires("lume-client") or () if line.startswith("aiohttp>="))
    version = wanted.partition(">=")[2]
    folder = ROOT / ".components" / f"aiohttp-{version}"
    if not (folder / "aiohttp").is_dir():
        pytest.skip(f"aiohttp {version} is not installed: ./scripts/components")
    return folder


def without(*names: str) -> Callable[[Path], Path]:
    """Return what makes a copy of the installed aiohttp in which these names, also of modules, are others."""

    def copied(folder: Path) -> Path:
        copy = folder / "aiohttp"
        shutil.copytree(Path(aiohttp.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        pattern = re.compile(rf"\b({'|'.join(names)})\b")
        found: set[str] = set()
        for file in copy.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            found.update(pattern.findall(text))
            file.write_text(pattern.sub(r"\1_of_another_version", text), encoding="utf-8")
            if file.stem in names:
                file.rename(file.with_stem(f"{file.stem}_of_another_version"))
        assert found == set(names)
        return folder

    return copied


NO_PROTOCOL = "without its protocol"
OTHERS = pytest.mark.parametrize(
    "made",
    [
        oldest,
        *(pytest.param(without(*names), marks=pytest.mark.thorough) for names in (PRIVATE, ["client_proto"])),
    ],
    ids=["oldest", "without private names", NO_PROTOCOL],
)


def passes(folder: Path, *arguments: str) -> None:
    """These tests pass over the aiohttp in a folder."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    told = f"import aiohttp; assert aiohttp.__file__.startswith({str(folder)!r})"
    program = f"{told}; import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", *arguments]
    command = [sys.executable, "-c", program, *options]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


@pytest.mark.once
@pytest.mark.timeout(100)
@OTHERS
def test_the_transport_works_over_another_aiohttp(
    made: Callable[[Path], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    passes(made(tmp_path), *CORE, "-k", LESS if request.node.callspec.id == NO_PROTOCOL else "")


@pytest.mark.once
@pytest.mark.thorough
@pytest.mark.timeout(100)
@OTHERS
def test_faults_are_met_over_another_aiohttp(
    made: Callable[[Path], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    passes(made(tmp_path), *MORE, "-k", LESS if request.node.callspec.id == NO_PROTOCOL else "")
