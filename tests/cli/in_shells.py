"""`lume` for scripts of a shell, without the half second of its imports."""

import os
import sys
from pathlib import Path

from attrs import frozen
from cli.shell import MODULE, lume_server


@frozen
class Found:
    """How a shell finds it: with these variables, where it inherits these files."""

    variables: dict[str, str]
    inherited: list[int]


def put_into(folder: Path) -> Found:
    """Put a `lume` into a folder of the PATH."""
    script = Path(__file__).with_name("forked_lume.py").read_text()
    program = folder / "lume"
    program.write_text(f"#!{sys.executable} -ISE\nSOURCE = {MODULE!r}\n{script}")
    program.chmod(0o755)
    number = lume_server().fileno()
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    return Found({"PATH": path, "LUME_TESTS_FORK_SERVER": str(number)}, [number])
