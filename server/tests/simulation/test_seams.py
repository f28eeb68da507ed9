"""No crash point is forgotten: all statements and file operations of the server come by at the seams."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lume_local

from .scenarios import SCENARIOS, visit
from .seams import FILE_OPERATIONS, Points

HOME = Path(lume_local.__file__).parent
ROOMS = ("_runs", "_serve", "_arrivals", "_shared", "_messages", "_http", "_worker/targets")
"""Those of a server, and of what a worker commits."""
REPLACED = {*FILE_OPERATIONS, "open", "connect", "Connection", "flock", "close"}
MOVES = {"move", "copytree", "copyfile", "copy", "copy2"}
"""The functions of `shutil` that change files with other calls than those of `os`."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((HOME / room).rglob("*.py")):
            yield str(path.relative_to(HOME)), ast.parse(path.read_text())


def bound(tree: ast.Module) -> Iterator[str]:
    """Yield the functions that a module takes when it is imported, so that a seam comes too late."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in (
            "os",
            "io",
            "builtins",
            "sqlite3",
            "fcntl",
            "shutil",
        ):
            yield from (f"{node.module}.{one.name}" for one in node.names if one.name in REPLACED)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for node in ast.walk(statement):
                is_of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                if is_of_os and node.value.id == "os" and node.attr in FILE_OPERATIONS:
                    yield f"os.{node.attr}"


def test_no_module_reaches_files_or_the_database_around_the_seams() -> None:
    taken = {(name, one) for name, tree in modules() for one in bound(tree)}
    # `_sync`, which `seams` replaces.
    assert taken == {("_runs/sqlite/sqlite_sql.py", "os.fsync")}
    found = set()
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "shutil" and node.attr in MOVES:
                    found.add((name, f"shutil.{node.attr}"))
                if (
                    node.value.id == "sqlite3"
                    and node.attr == "Connection"
                    and isinstance(node.ctx, ast.Store)
                ):
                    found.add((name, "sqlite3.Connection"))
    assert not found


@pytest.mark.parametrize("name", ["run", "mend"])
def test_every_statement_is_a_point(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself reports none outside of a point."""
    monkeypatch.setattr(Points, "traces", True)
    world = visit(name, None)
    assert world.traced["COMMIT"] > 0
    assert not world.traced["outside of a point"]


def test_scenarios_visit_what_a_commit_does() -> None:
    """The operations that publish, by their names: the points of a run are not only those of the state."""
    names = {one for name in ("run", "rejects", "rerun") for one in visit(name, None).names}
    for wanted in (
        "worker file replace commit.json",
        "worker file replace mapped.parquet",
        "server file rmdir #",
    ):
        assert any(one.startswith(wanted.removesuffix("#")) for one in names), wanted


def test_each_scenario_has_points() -> None:
    assert all(len(visit(name, None).names) > 50 for name in SCENARIOS)
