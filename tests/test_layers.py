"""Imports go downwards only. Read from the source: imports in functions and under TYPE_CHECKING count too."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lume_async
import lume_local
import lume_sync

ROOT = Path(__file__).parents[1]
PACKAGES = [name for name in ("lume_async", "lume_sync", "lume_local", "lume_cli") if (ROOT / name).is_dir()]

# The core, from the ground up: a file imports only from rows above its own. A new file needs a place here.
ROWS = (
    "_public _version _secret _duration _clock _perloop _pull _chunked _default _threads _headers _slots",
    "errors",
    "_converter _backoff _config _lifetime",
    "models",
    "_wire _observe _journal _summary _tracing",
    "_endpoints webhooks _progress _recorder",
    "_transport _retry _waiter _gate _keys _scheduler",
    "_sending",
    "_sender",
    "_submit _poll _upload",
    "_watch _feed",
    "_run",
    "_listing _monitor",
    "_completion _submissions",
    "_batch",
    "_client",
    "_api testing",
    "__init__",
)
LEVEL = {name: level for level, row in enumerate(ROWS) for name in row.split()}

PURE = ("errors", "models", "_backoff", "_retry", "_wire", "_endpoints", "_converter", "_duration")
"""They decide and do nothing: no I/O, no clock, no randomness of their own."""
IMPURE = {"aiohttp", "anyio", "asyncio", "random", "socket", "threading", "time"}

MAY_IMPORT_AIOHTTP = {"_transport", "webhooks"}  # webhooks: the ready handler for users' aiohttp servers
MAY_MAKE_CLIENTS = {"_serve": {"client"}, "pytest_plugin": {"lume_server", "lume_client"}}
"""The functions of lume_local that import the client packages, on first use."""


@dataclass(frozen=True)
class Import:
    module: str
    """Absolute, with the name where that is a module too: `from lume_async import _wire` gives `lume_async._wire`."""
    name: str | None
    line: int
    function: str | None = None
    for_types: bool = False

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports_of(tree: ast.AST, function: str | None = None, for_types: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        where, types = function, for_types
        match node:
            case ast.Import(names=names):
                yield from (Import(a.name, None, node.lineno, where, types) for a in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"line {node.lineno}: a relative import hides where it goes"
                for alias in names:
                    whole = f"{module}.{alias.name}"
                    is_module = (ROOT / f"{whole.replace('.', '/')}.py").is_file()
                    name = None if is_module else alias.name
                    yield Import(whole if is_module else str(module), name, node.lineno, where, types)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                where = name
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                types = True
        yield from imports_of(node, where, types)


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def read(path: Path) -> list[Import]:
    return list(imports_of(ast.parse(path.read_text())))


def modules_of(path: Path, package: str) -> set[str]:
    """Which files of that package it imports, by their bare names."""
    found = (each.module for each in read(path) if each.top == package)
    return {module.partition(".")[2] or "__init__" for module in found}


def ids(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


CORE = files_of("lume_async")


def test_every_file_of_the_core_has_a_level() -> None:
    there = {path.stem for path in CORE}

    assert there - set(LEVEL) == set(), "new: give them a place in ROWS"
    assert set(LEVEL) - there == set(), "gone: take them out of ROWS"
    assert len(LEVEL) == sum(len(row.split()) for row in ROWS), "named twice in ROWS"


@pytest.mark.parametrize("path", CORE, ids=ids)
def test_the_core_imports_only_downwards(path) -> None:
    own = LEVEL.get(path.stem, len(ROWS))  # files without a level are the test above
    upwards = {name for name in modules_of(path, "lume_async") if LEVEL.get(name, -1) >= own}

    assert not upwards


@pytest.mark.parametrize("path", CORE, ids=ids)
def test_the_core_knows_none_of_the_other_packages(path) -> None:
    assert not {each.top for each in read(path)} & {"lume_sync", "lume_local", "lume_cli"}


def test_one_file_speaks_http() -> None:
    assert {path.stem for path in CORE if "aiohttp" in {i.top for i in read(path)}} <= MAY_IMPORT_AIOHTTP


@pytest.mark.parametrize("name", PURE)
def test_what_decides_does_nothing(name) -> None:
    found = {(each.top, each.name) for each in read(ROOT / "lume_async" / f"{name}.py")}

    assert not {top for top, _ in found} & IMPURE


def test_waiting_knows_neither_transport_nor_wire() -> None:
    forbidden = {"_transport", "_wire", "_endpoints", "_sender"}

    assert not modules_of(ROOT / "lume_async" / "_waiter.py", "lume_async") & forbidden


def test_a_handle_holds_a_sender_and_no_client() -> None:
    assert "_client" not in modules_of(ROOT / "lume_async" / "_run.py", "lume_async")


def is_public(package: str, each: Import) -> bool:
    """`from package import Name` or a public module of it."""
    module = each.module.removeprefix(package).strip(".")
    if any(part.startswith("_") for part in module.split(".") if part):
        return False
    known = {"lume_async": lume_async, "lume_sync": lume_sync, "lume_local": lume_local}[package].__all__
    return bool(module) or each.name is None or each.name in known


@pytest.mark.parametrize("path", [p for name in PACKAGES[1:] for p in files_of(name)], ids=ids)
def test_packages_use_public_names_of_each_other(path) -> None:
    others = {"lume_async", "lume_sync", "lume_local"} - {path.parent.name}
    private = [each for each in read(path) if each.top in others and not is_public(each.top, each)]
    reached = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in others
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    ]

    assert not private
    assert not [f"line {node.lineno}: {ast.unparse(node)}" for node in reached]


@pytest.mark.parametrize("path", files_of("lume_local"), ids=ids)
def test_the_server_shares_only_words_with_the_client(path) -> None:
    """So that one bug can't hide in both ends of the wire."""
    lazily = MAY_MAKE_CLIENTS.get(path.stem, set())
    too_much = [
        each
        for each in read(path)
        if each.top in ("lume_async", "lume_sync", "lume_cli")
        and each.module not in ("lume_async.models", "lume_async.errors")
        and not (each.function in lazily or (lazily and each.for_types))
    ]

    assert not too_much


@pytest.mark.parametrize("path", files_of("lume_sync"), ids=ids)
def test_the_facade_knows_the_core_only(path) -> None:
    assert not {each.top for each in read(path)} & {"lume_local", "lume_cli", "aiohttp", "cattrs"}


def test_no_file_is_longer_than_400_lines() -> None:
    checked = [path for name in (*PACKAGES, "tools", "examples", "benchmarks") for path in files_of(name)]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in checked}

    assert {path: lines for path, lines in long.items() if lines > 400} == {}


def test_the_reader_of_imports_sees_them_all() -> None:
    source = """
import asyncio
from lume_async import _wire, Client
if TYPE_CHECKING:
    from aiohttp import web
class A:
    async def m(self):
        import anyio.abc
"""
    assert list(imports_of(ast.parse(source))) == [
        Import("asyncio", None, 2),
        Import("lume_async._wire", None, 3),
        Import("lume_async", "Client", 3),
        Import("aiohttp", "web", 5, for_types=True),
        Import("anyio.abc", None, 8, function="m"),
    ]
