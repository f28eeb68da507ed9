"""Imports go downwards only. Read from the source: imports in functions and under TYPE_CHECKING count too."""

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lume_async
import lume_async._exports
import lume_local
import lume_sync

ROOT = Path(__file__).parents[1]
ALL = ("lume_async", "lume_sync", "lume_local", "lume_cli", "lume_airflow")
HOMES = {"lume_local": ROOT / "server", "lume_airflow": ROOT / "airflow"}
"""The folders of the packages that are not at the top; see `docs/design/architecture.md`."""
PACKAGES = [name for name in ALL if (HOMES.get(name, ROOT) / name).is_dir()]

WINGS = {
    "lume_async": """
        _base _exports
        errors
        _decoding
        _metadata
        models
        _wire _webhooks
        _http webhooks
        _run
        _many
        _batch
        _operations
        _client
        _api testing
        __init__
    """,
    "lume_sync": """
        _exports errors models webhooks
        _hops
        _bridge
        _rows _state
        _run
        _monitor
        _flows _many_runs _rejects _reports
        _client
        _api testing
        __init__
    """,
    "lume_local": """
        _exports _shared
        _flow
        _sftp _samples
        _mapping
        _worker _runs
        _shards _arrivals
        _messages
        _http
        _serve _trials
        __init__
        pytest_plugin
        commands
    """,
    "lume_cli": """
        _options _loop _table _health _server_file _streams
        _settings
        _output
        _server_watch
        _session
        _work
        commands
        _app
        __init__
        __main__
    """,
    "lume_airflow": """
        _arguments _compat _connection _identity _supervisor provider_info
        _options _results hooks links
        _direct _lineage _shared _started
        _batch
        _work
        triggers
        operators sensors
        __init__
    """,
}
"""Each package from the ground up. A wing (a folder, or a file at the root) imports only from rows above its own."""

PURE = [
    *("errors", "models", "_decoding", "_metadata"),
    *("_base/arguments", "_base/backoff", "_base/controls", "_base/duration", "_base/elided"),
    *("_http/checks", "_http/known", "_http/throttle"),
    "_webhooks/signatures",
    *("_wire/answers", "_wire/endpoints", "_wire/lost_answers", "_wire/retry", "_wire/service"),
    *("_wire/withhold", "_wire/flow_endpoints", "_wire/flow_models", "_wire/row_endpoints"),
    "_wire/inbox_models",
    *("_wire/report_endpoints", "_wire/report_models", "_wire/upload_endpoints"),
    *("_run/results/frames", "_run/row_text", "_run/state", "_batch/recovery"),
]
"""They decide and do nothing: no I/O, no clock, no randomness of their own."""
IMPURE = {"aiohttp", "anyio", "asyncio", "random", "socket", "threading", "time"}

SHARED = {
    "lume_sync": {
        f"lume_async._base.{name}"
        for name in [
            *("arguments", "batched", "default_client", "immortal", "lazy", "platform", "secret", "threads")
        ]
    },
    "lume_local": {
        *(
            f"lume_async._base.{name}"
            for name in [
                "arguments",
                "controls",
                "duration",
                "elided",
                "extras",
                "lazy",
                "owned",
                "platform",
                "tasks",
                "threads",
                "version",
                "words",
            ]
        ),
        "lume_async._webhooks.signatures",
        "lume_async._run.row_files",  # what `run(data=…)` writes, `clean` reads
        "lume_async._run.transfer",  # the types of that data
        # Its commands are those of the command line.
        *(
            f"lume_cli.{name}"
            for name in [
                "_loop",
                "_options",
                "_output",
                "_output.errors",
                "_output.exit_codes",
                "_output.live",
                "_output.log_lines",
                "_output.row_table",
                "_output.stderr",
                "_output.stdout",
                "_output.text",
                "_server_file",
                "_session",
                "_streams",
                "_work.flow_diff",
                "commands",
            ]
        ),
    },
    "lume_cli": {
        *(
            f"lume_async._base.{name}"
            for name in ["controls", "elided", "extras", "platform", "secret", "tasks", "threads", "words"]
        ),
        "lume_async._http.settings",
        "lume_async._run.results.rows",  # `lume table` writes the digits of its rows
        "lume_async._run.row_text",
        "lume_async._wire.withhold",
    },
}
"""The internal modules that another package may import; else it uses public names only."""

MAY_IMPORT_AIOHTTP = {
    "_http/body",
    "_http/connector",
    "_http/session",
    "_http/socks",
    "_http/transport",
    "testing/_wire",
    "webhooks",
}
"""The last one for the handler that users put into an aiohttp server of their own."""

MAY_MAKE_CLIENTS = {"_serve/serve": {"client"}, "pytest_plugin": {"lume_server", "lume_client"}}
"""The functions of lume_local that import the client packages, on first use."""


@dataclass(frozen=True)
class Import:
    module: str
    """Absolute, with the name where that is a module too: `from lume_async._wire import reading` gives all three."""
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
                    place = HOMES.get(whole.partition(".")[0], ROOT) / whole.replace(".", "/")
                    is_module = place.is_dir() or place.with_suffix(".py").is_file()
                    name = None if is_module else alias.name
                    yield Import(whole if is_module else str(module), name, node.lineno, where, types)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                where = name
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                types = True
            case ast.expr():
                continue  # holds no import
        yield from imports_of(node, where, types)


def files_of(package: str) -> list[Path]:
    return sorted((HOMES.get(package, ROOT) / package).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def read(path: Path) -> list[Import]:
    return list(imports_of(tree_of(path)))


def wrong_in(paths: Iterable[Path], found_in: Callable[[Path], Collection[object]]) -> dict[str, object]:
    """By file, what is found and must not be there: a test for each of 700 files would take longer than its rule."""
    return {str(path.relative_to(ROOT)): found for path in paths if (found := found_in(path))}


def name_of(path: Path) -> str:
    """`_wire/answers`: a file by its place in its package."""
    home = next(one for one in path.parents if one in (ROOT, *HOMES.values()))
    return path.relative_to(home).with_suffix("").as_posix().partition("/")[2]


def modules_of(path: Path, package: str) -> set[str]:
    """Which files and folders of that package it imports, named as `name_of` does.

    The core's annotation "lume_async.Rows" counts as an import of that name, and `import lume_async` as nothing more.
    """
    found = {each.module for each in read(path) if each.top == package}
    if path in CORE and package in found:
        found = found - {package} | {
            PUBLIC_HOMES[name] for name in re.findall(r"\blume_async\.([A-Z]\w*)", path.read_text())
        }
    return {module.partition(".")[2].replace(".", "/") or "__init__" for module in found}


def wing_of(name: str) -> str:
    return name.partition("/")[0]


def levels(rows: list[str]) -> dict[str, int]:
    return {name: level for level, row in enumerate(rows) for name in row.split()}


CORE = files_of("lume_async")
PUBLIC_HOMES = {name: home for home, names in lume_async._exports.NAMES.items() for name in names.split()}
HOUSES = {
    package: levels(table.strip().splitlines()) for package, table in WINGS.items() if package in PACKAGES
}


@pytest.mark.parametrize("package", HOUSES)
def test_every_wing_has_a_row(package) -> None:
    there = {wing_of(name_of(path)) for path in files_of(package)}

    assert there == set(HOUSES[package]), "WINGS names them all, and none that is gone"


@pytest.mark.parametrize("package", HOUSES)
def test_wings_import_only_downwards(package) -> None:
    level = HOUSES[package]

    def not_below(path: Path) -> set[str]:
        own = wing_of(name_of(path))
        others = {wing_of(name) for name in modules_of(path, package)} - {own}
        return {name for name in others if level[name] >= level[own]}

    assert wrong_in(files_of(package), not_below) == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other(package) -> None:
    """Directly or through others: then what a wing holds has an order, too, and no table has to name it."""
    files = {name_of(path): path for path in files_of(package)}
    imports = {
        name: {each if each in files else f"{each}/__init__" for each in modules_of(path, package)}
        for name, path in files.items()
    }

    TopologicalSorter(imports).prepare()  # a CycleError names them


def tops_of(path: Path) -> set[str]:
    return {each.top for each in read(path)}


def test_the_client_knows_nothing_of_the_server() -> None:
    """It is installed without it: the command line finds the server's commands by their entry points."""
    client = [path for package in ("lume_async", "lume_sync", "lume_cli") for path in files_of(package)]

    assert wrong_in(client, lambda path: tops_of(path) & {"lume_local", "lume_airflow"}) == {}


def test_the_core_uses_its_own_public_names_in_annotations_only() -> None:
    """In quotes, or of an attribute: so they load nothing, and `typing.get_type_hints` finds them."""

    def used(path: Path) -> list[int]:
        nodes = list(ast.walk(tree_of(path)))
        of_attributes = [node.annotation for node in nodes if isinstance(node, ast.AnnAssign)]
        apart = {inner for annotation in of_attributes for inner in ast.walk(annotation)}
        return [
            node.lineno
            for node in nodes
            if isinstance(node, ast.Name) and node.id == "lume_async" and node not in apart
        ]

    assert wrong_in(CORE, used) == {}


def test_the_core_knows_none_of_the_other_packages() -> None:
    assert wrong_in(CORE, lambda path: tops_of(path) & set(ALL[1:])) == {}


def test_only_the_worker_process_imports_duckdb() -> None:
    others = [path for path in files_of("lume_local") if not {"_worker", "_shards"} & set(path.parts)]

    assert wrong_in(others, lambda path: tops_of(path) & {"duckdb"}) == {}


def test_only_one_folder_of_the_server_knows_sqlite() -> None:
    """What else keeps or reads the state asks a `Store`, which need not be a file. Workers read files of users."""
    of_workers = ("_runs/sqlite/", "_worker/", "_shards/")
    others = [path for path in files_of("lume_local") if not name_of(path).startswith(of_workers)]
    assert wrong_in(others, lambda path: tops_of(path) & {"sqlite3"}) == {}

    def of_the_store(path: Path) -> set[str]:
        return {each for each in modules_of(path, "lume_local") if each.startswith("_runs/sqlite")}

    apart = [path for path in others if name_of(path) not in ("_serve/state", "_serve/backup")]
    assert wrong_in(apart, of_the_store) == {}


def test_what_executes_tasks_takes_a_few_names_of_the_worker() -> None:
    """All that a task does is in `_worker/shards`; an engine knows names and JSON."""
    found = {
        (name.removeprefix("_worker/"), each.name)
        for path in (HOMES["lume_local"] / "lume_local/_shards").rglob("*.py")
        for each in read(path)
        if (name := each.module.removeprefix("lume_local.").replace(".", "/")).startswith("_worker")
    }

    assert found == {
        ("engine", "RunBroke"),
        ("shards/sharded", None),
        ("shards/tasks", None),
        ("shards/tasks", "Made"),
        ("steps", "Context"),
    }


def test_few_files_speak_http() -> None:
    assert {name_of(path) for path in CORE if "aiohttp" in {i.top for i in read(path)}} <= MAY_IMPORT_AIOHTTP


@pytest.mark.parametrize("name", PURE)
def test_what_decides_does_nothing(name) -> None:
    found = {(each.top, each.name) for each in read(ROOT / "lume_async" / f"{name}.py")}

    assert not {top for top, _ in found} & IMPURE


def test_waiting_knows_neither_transport_nor_wire() -> None:
    used = {wing_of(name) for name in modules_of(ROOT / "lume_async/_run/waiter.py", "lume_async")}

    assert used == {"_base"}


def test_a_handle_holds_a_sender_and_no_client() -> None:
    assert "_client" not in modules_of(ROOT / "lume_async/_run/handle.py", "lume_async")


def is_public(package: str, each: Import) -> bool:
    """`from package import Name` or a public module of it."""
    module = each.module.removeprefix(package).strip(".")
    if any(part.startswith("_") for part in module.split(".") if part):
        return False
    known = {"lume_async": lume_async, "lume_sync": lume_sync, "lume_local": lume_local}[package].__all__
    return bool(module) or each.name is None or each.name in known


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_packages_use_public_names_of_each_other(package) -> None:
    others = {"lume_async", "lume_sync", "lume_local"} - {package}
    shared = SHARED.get(package, set())

    def private(path: Path) -> list[Import]:
        used = [each for each in read(path) if each.top in others and each.module not in shared]
        return [each for each in used if not is_public(each.top, each)]

    def reached(path: Path) -> list[str]:
        return [
            f"line {node.lineno}: {ast.unparse(node)}"
            for node in attributes_in(path)
            if isinstance(node.value, ast.Name)
            and node.value.id in others
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
        ]

    assert wrong_in(files_of(package), private) == {}
    assert wrong_in(files_of(package), reached) == {}


@cache
def attributes_in(path: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)]


def test_the_server_shares_only_words_with_the_client() -> None:
    """So that one bug can't hide in both ends of the wire."""
    shared = {"lume_async.models", "lume_async.errors", *SHARED["lume_local"]}

    def too_much(path: Path) -> list[Import]:
        lazily = MAY_MAKE_CLIENTS.get(name_of(path), set())
        return [
            each
            for each in read(path)
            if each.top in ("lume_async", "lume_sync", "lume_cli")
            and each.module not in shared
            and not (each.function in lazily or (lazily and each.for_types))
        ]

    # Commands ask a server as users do.
    servers = [path for path in files_of("lume_local") if wing_of(name_of(path)) != "commands"]
    assert wrong_in(servers, too_much) == {}


def test_the_facade_knows_the_core_only() -> None:
    others = {"lume_local", "lume_cli", "aiohttp", "cattrs"}

    assert wrong_in(files_of("lume_sync"), lambda path: tops_of(path) & others) == {}


@pytest.mark.parametrize("package", ["lume_async", "lume_sync", "lume_local"])
def test_of_a_loop_and_its_timers_only_what_every_loop_has_is_used(package) -> None:
    """uvloop's timers may be handles without `when`, and its loop has no parts that can be reached."""

    def timers(path: Path) -> list[int]:
        return [node.lineno for node in attributes_in(path) if node.attr in ("when", "_when")]

    def loops(path: Path) -> list[int]:
        inner = [node for node in attributes_in(path) if node.attr.startswith("_")]
        return [node.lineno for node in inner if ast.unparse(node.value).endswith(("loop", "_loop()"))]

    assert wrong_in(files_of(package), timers) == {}
    assert wrong_in(files_of(package), loops) == {}


def test_no_file_is_longer_than_600_lines() -> None:
    checked = [path for name in (*PACKAGES, "tools", "examples", "benchmarks") for path in files_of(name)]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in checked}
    written = {path: text for path, text in texts.items() if "generate_sync" not in text[:400]}

    assert {path: len(text.splitlines()) for path, text in written.items() if text.count("\n") > 600} == {}


@pytest.mark.thorough
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
