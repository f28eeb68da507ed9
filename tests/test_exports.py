"""What users import: complete, sorted, named after the public package, and cheap."""

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, get_type_hints

import pytest

import lume_async._exports
import lume_async.errors
import lume_async.models
import lume_async.testing
import lume_async.webhooks
import lume_local._exports
import lume_local.pytest_plugin
import lume_sync._exports
import lume_sync.errors
import lume_sync.models
import lume_sync.testing
import lume_sync.webhooks

ROOT = Path(__file__).parents[1]
FACADES = [lume_async, lume_sync]
PACKAGES = [*FACADES, lume_local]
MODULES = [
    *PACKAGES,
    *(lume_async.errors, lume_async.models, lume_async.testing, lume_async.webhooks),
    *(lume_sync.errors, lume_sync.models, lume_sync.testing, lume_sync.webhooks, lume_local.pytest_plugin),
]
"""All that users may import from."""

ASYNC_ONLY = {"aclose"}
SYNC_ONLY = {"close"}


def name_of(module: ModuleType) -> str:
    return module.__name__


def public_classes(package: ModuleType) -> list[type]:
    found = (getattr(package, name) for name in package.__all__)
    return [each for each in found if inspect.isclass(each) and each.__module__.startswith("lume_")]


def imported_for_types(package: ModuleType) -> set[str]:
    """The names that `__init__` shows to type checkers."""
    assert package.__file__
    tree = ast.parse(Path(package.__file__).read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom):
                    names |= {alias.asname for alias in inner.names if alias.asname == alias.name}
    return names


def public_modules(package: ModuleType) -> set[str]:
    """Those whose name begins with no underscore, as users see them."""
    assert package.__file__
    folder = Path(package.__file__).parent
    packages = [path for path in folder.glob("[!_]*/__init__.py") if "__all__" in path.read_text()]
    inner = [*folder.glob("[!_]*.py"), *(path.parent for path in packages)]
    return {package.__name__, *(f"{package.__name__}.{path.stem}" for path in inner)}


def test_every_public_module_is_checked_here() -> None:
    assert {name_of(module) for module in MODULES} == set().union(*map(public_modules, PACKAGES))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_all_is_sorted_and_unique(module) -> None:
    assert module.__all__ == sorted(set(module.__all__))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_all_can_be_imported_and_is_listed(module) -> None:
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("module", [lume_async.errors, lume_async.models], ids=name_of)
def test_a_module_and_its_package_agree_on_what_is_public(module) -> None:
    assert lume_async._exports.NAMES[module.__name__].split() == module.__all__


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_all_has_what_the_generated_table_has(package) -> None:
    assert package.__all__ == sorted(" ".join(package._exports.NAMES.values()).split())


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_what_type_checkers_see_is_what_users_get(package) -> None:
    assert imported_for_types(package) == set(package.__all__)


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_nothing_public_is_left_out(package) -> None:
    """After everything was used once, the package holds its public names, its modules, and nothing else."""
    for name in package.__all__:
        getattr(package, name)
    tools = {"Any", "TYPE_CHECKING", "import_module", "annotations"}
    found = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name not in tools
    }

    assert found <= set(package.__all__)


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_an_unknown_name_is_an_attribute_error(package) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = package.nosuch


@pytest.mark.parametrize("facade", FACADES, ids=name_of)
def test_public_classes_are_named_after_a_public_package(facade) -> None:
    for each in public_classes(facade):
        home = importlib.import_module(each.__module__)
        assert not any(part.startswith("_") for part in each.__module__.split(".")), each
        assert getattr(home, each.__name__) is each
    assert {each.__module__ for each in (lume_async.LumeRun, lume_async.Client)} == {"lume_async"}
    assert {each.__module__ for each in (lume_sync.LumeRun, lume_sync.Client)} == {"lume_sync"}


def test_both_facades_have_the_same_names() -> None:
    assert set(lume_async.__all__) - ASYNC_ONLY == set(lume_sync.__all__) - SYNC_ONLY


def test_errors_and_data_are_the_same_objects_in_both_facades() -> None:
    for each in public_classes(lume_async):
        if issubclass(each, BaseException) or each.__name__ in ("RunStatus", "RunMetadata", "RunRequest"):
            assert getattr(lume_sync, each.__name__) is each


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_what_is_public_is_explained(module) -> None:
    assert inspect.getdoc(module)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module.__name__}.{name} has no docstring"


@pytest.mark.thorough
@pytest.mark.parametrize("package", FACADES, ids=name_of)
def test_every_public_type_is_known(package, tmp_path) -> None:
    """pyright's judgement of what a user's type checker sees: all of it, and the same for every checker."""
    # It looks for the package beside the `python` that it finds on the path, and not beside its own.
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [*(sys.executable, "-m", "pyright"), *("--verifytypes", package.__name__, "--ignoreexternal")]
    done = subprocess.run(
        [*command, "--outputjson"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": paths},
    )
    found = json.loads(done.stdout)

    unclear = [symbol for symbol in found["typeCompleteness"]["symbols"] if not symbol["isTypeKnown"]]
    assert [(symbol["name"], symbol["diagnostics"]) for symbol in unclear] == []
    assert found["typeCompleteness"]["exportedSymbolCounts"]["withKnownType"] >= len(package.__all__)
    assert found["typeCompleteness"]["completenessScore"] == 1


def functions_of(package: Any) -> dict[str, Any]:
    """The public functions, and those in the public classes, with what properties call."""
    found = {}
    for name in package.__all__:
        value = getattr(package, name)
        for label in dir(value) if inspect.isclass(value) else ():
            member = inspect.getattr_static(value, label)
            for function in (
                member,
                *(getattr(member, inner, None) for inner in ("fget", "func", "__func__")),
            ):
                if isinstance(function, FunctionType) and function.__module__.startswith("lume_"):
                    found[f"{name}.{label}"] = function
        found |= {name: value} if inspect.isfunction(value) or inspect.isclass(value) else {}
    return found


TABLES = dict.fromkeys(
    ("pandas", "polars", "pyarrow"), SimpleNamespace(DataFrame=object, Table=object, RecordBatch=object)
)
"""Users may lack these libraries, so that modules of ours import them for type checkers only."""


@pytest.mark.parametrize("package", FACADES, ids=name_of)
def test_every_annotation_can_be_evaluated(package) -> None:
    """Also one that names what is loaded on use only; but for tables, nothing has to be imported for it."""
    for function in functions_of(package).values():
        get_type_hints(function, localns=TABLES)


def loaded_by(code: str) -> set[str]:
    """The modules of a new interpreter that has run the code."""
    # -I: what the environment adds (coverage, a sitecustomize) is not ours; -S can't be, the project is found by it.
    code += "\nimport sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_importing_loads_nothing_heavy(package) -> None:
    heavy = ["aiohttp", "anyio", "asyncio", "attrs", "cattrs", "duckdb", "orjson", "ssl"]
    others = {each.__name__ for each in PACKAGES} - {package.__name__, "lume_async"}
    loaded = loaded_by(f"import {package.__name__}")

    assert not loaded & {*heavy, *others}


FIRST_REQUEST = """
import asyncio
from lume_async import Client
from lume_async.testing import FakeAnswer, fake_client, run_json

async def main():
    client, _ = fake_client(lambda request: FakeAnswer(200, run_json("r", "SUCCEEDED")))
    run = await client.run("f:v1", "a.csv")
    await run.wait()

asyncio.run(main())
"""
LATER = {
    *("anyio", "cattrs", "ctypes", "difflib", "html", "nanoarrow", "pyarrow", "sqlite3", "tomllib"),
    *("importlib.metadata", "importlib.resources", "zipfile"),
    *(
        "lume_async._batch",
        "lume_async._metadata",
        "lume_async._many",
        "lume_async._wire.flow_endpoints",
        "lume_async._wire.flow_models",
        "lume_async._wire.inbox_models",
        "lume_async._wire.report_models",
        "lume_async._run.results.rows",
    ),
    *("lume_async._run.upload", "lume_async._api"),
}
"""What a submission and its wait do not need; aiohttp imports none of it."""


@pytest.mark.parametrize("code", ["from lume_async import Client", FIRST_REQUEST], ids=["import", "request"])
def test_a_client_imports_what_a_first_request_needs(code: str) -> None:
    assert not loaded_by(code) & LATER


BUILT = """
import attrs, json, sys
from lume_async import Client

def is_attrs(value):
    return isinstance(value, type) and attrs.has(value)

ours = {name: module for name, module in sys.modules.items() if name.startswith("lume_async")}
classes = {id(value) for each in ours.values() for value in vars(each).values() if is_attrs(value)}
print(json.dumps([len(ours), len(classes)]))
"""


def test_a_client_builds_few_classes() -> None:
    """The generation of an attrs class takes 0.4 ms: 26 are a third of what a client adds to aiohttp's import."""
    done = subprocess.run([sys.executable, "-I", "-c", BUILT], capture_output=True, check=True, timeout=30)
    modules, classes = json.loads(done.stdout)

    assert modules <= 63
    assert classes <= 26


@pytest.mark.parametrize("name", ["Metrics", "RunRequest"])
def test_a_model_is_public_whichever_of_its_names_is_used_first(name: str) -> None:
    """The first is loaded on use, the second with the module."""
    program = f"""
import pickle
pickle.loads(b"clume_async\\n{name}\\n.")
import lume_async, lume_sync.models
from lume_async.models import *
assert {name} is lume_async.{name} is lume_async.models.{name} is lume_sync.models.{name}
assert {name}.__module__ == "lume_async" and pickle.loads(pickle.dumps({name})) is {name}
"""
    subprocess.run([sys.executable, "-I", "-c", program], check=True, timeout=30)


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_packages_say_that_they_are_typed(package) -> None:
    assert package.__file__
    assert (Path(package.__file__).parent / "py.typed").is_file()
