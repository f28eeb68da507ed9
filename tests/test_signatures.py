"""What type checkers see of public signatures: no `Any`, but for the edges that are listed here with their reason."""

import ast
import importlib
import inspect
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import attrs
import pytest
from aiohttp import web

import lume_async
import lume_async._api
import lume_local
import lume_sync
import lume_sync._api
from lume_async import ClientOptions

ROOT = Path(__file__).parents[1]
MODULES = [
    *(lume_async, lume_sync, lume_local),
    *("lume_async.errors", "lume_async.models", "lume_async.testing", "lume_async.webhooks"),
    *("lume_sync.errors", "lume_sync.models", "lume_sync.testing", "lume_sync.webhooks"),
    "lume_local.pytest_plugin",
]
TYPES_ONLY = {"lume_async": lume_async, "lume_sync": lume_sync, "web": web} | dict.fromkeys(
    ("pandas", "polars", "pyarrow"), SimpleNamespace(DataFrame=object, Table=object, RecordBatch=object)
)
"""Names that modules import for type checkers only."""

EDGES = {
    "a row: its values are those of the flow's columns, and are used as such": {
        *("Client.open_rejects(return)", "open_rejects(return)", "Rows.__anext__(return)"),
        *("CleanResult.mapped(return)", "CleanResult.rejects(return)"),
        *("DryRun.mapped", "DryRun.rejects", "TriedFlow.mapped", "TriedFlow.rejects"),
    },
    "JSON as the server or the user's own program wrote it, to be read": {
        *("LumeRun.run_metadata(return)", "LumeRun.to_dict(return)", "RunInfo.run_metadata"),
        *("RunRequest.run_metadata", "WebhookEvent.raw", "WebhookEvent.run_metadata", "AuditEntry.detail"),
        *("TriedFlow.metrics", "Summary.to_dict(return)", "FakeRequest.json(return)", "run_json(return)"),
        *("Answer.json(return)", "CleanResult.to_dict(return)"),
        *("SimulatedServer.__init__(ends_as)", "SimulatedServer.__init__(lasts)"),
    },
    "a flow, or a part of one, as in its file": {
        *("FlowVersion.definition", "FlowVersion.target_schema", "FlowColumn.constraints"),
        *("Proposal.definition", "ProposedColumn.definition", "ProposedLayout.source", "SeenSample.source"),
        *("ProposedFlow.definition", "ProposedFlow.to_json(return)"),
    },
    "bytes or JSON, which the test that wrote it knows": {"FakeAnswer.body"},
    "an object of either package; the errors of both are the same": {
        *("RunError.run", "RunFailedError.run", "RunTimeoutError.run", "SubmissionUnknownError.request"),
    },
    "a protocol of others: ASGI": {"asgi_app(return)"},
    "made by the library only": {
        f"{name}.__init__({parameter})"
        for name in ("Items", "Paged", "Rows")
        for parameter in ("source", "wrap")
    },
}
"""The places with `Any`, by the reason."""
OF_AIRFLOW = {
    "arguments of Airflow's own operators, which it checks itself": {
        f"{name}.__init__(kwargs)"
        for name in (
            *("LumeOperator", "LumeRunOperator", "LumeDirectRunOperator", "LumeRunBatchOperator"),
            "LumeRunSensor",
        )
    },
    "a list, or the output of another task": {"LumeRunBatchOperator.__init__(source_paths)"},
    "what Airflow calls, with objects and keys that differ from version to version": {
        *("LumeOperator.partial(kwargs)", "LumeOperator.partial(return)", "LumeOperator.options(return)"),
        *("LumeOperator.resume_execution(next_kwargs)", "LumeOperator.resume_execution(return)"),
        *("LumeOperator.execute_complete(return)", "LumeDirectRunOperator.execute_complete(return)"),
        *("LumeRunOperator.execute(return)", "LumeRunBatchOperator.execute(return)"),
        *("LumeRunSensor.execute(return)", "LumeRunSensor.execute_complete(return)"),
        *("LumeRunLink.get_link(operator)", "LumeRunLink.get_link(ti_key)"),
        *("LumeDirectTrigger.render_template_fields(jinja_env)", "LumeHook.get_ui_field_behaviour(return)"),
    },
    "OpenLineage's, which may not be installed": {
        "LumeOperator.get_openlineage_facets_on_start(return)",
        *(
            f"LumeOperator.get_openlineage_facets_on_{end}({name})"
            for end in ("complete", "failure")
            for name in ("task_instance", "return")
        ),
    },
    "JSON that Airflow keeps: the result of a task, and what a trigger is made of": {
        *("LumeOperator.judge(result)", "LumeOperator.has_partial(result)", "LumeOperator.summary(result)"),
        *("LumeRunOperator.judge(result)", "LumeRunOperator.has_partial(result)"),
        *("LumeRunOperator.summary(result)", "LumeDirectRunOperator.judge(result)"),
        *("LumeRunBatchOperator.has_partial(result)", "LumeRunBatchOperator.summary(result)"),
        *("LumeRunTrigger.__init__(options)", "LumeRunTrigger.__init__(task)"),
        *("LumeBatchTrigger.__init__(options)", "LumeBatchTrigger.__init__(task)"),
        "LumeDirectTrigger.__init__(arguments)",
    },
}
"""The same in `lume_airflow`."""


def has_any(hint: object) -> bool:
    """Whether `Any` stands somewhere in the annotation."""
    if typing.is_typeddict(hint):
        return any(map(has_any, typing.get_type_hints(hint).values()))
    parts = hint if isinstance(hint, list) else typing.get_args(hint)
    return hint is Any or any(map(has_any, parts))


def functions_of(value: type) -> Iterator[tuple[str, FunctionType]]:
    for name, member in inspect.getmembers_static(value):
        special = name.startswith("__") and name not in PICKLED
        if name.startswith("_") and not special:
            continue
        for found in (member, *(getattr(member, inner, None) for inner in ("fget", "func", "__func__"))):
            if isinstance(found, FunctionType) and found.__module__.startswith("lume_"):
                yield name, found


PICKLED = {"__getstate__", "__setstate__", "__deepcopy__", "__reduce__", "__reduce_ex__"}


def attributes_of(function: FunctionType) -> Iterator[str]:
    """The public attributes that it annotates with `Any`."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)):
            continue
        if not node.target.attr.startswith("_") and "Any" in ast.unparse(node.annotation):
            yield node.target.attr


def wide_in(label: str, function: Any) -> set[str]:
    hints = typing.get_type_hints(function, localns=TYPES_ONLY)
    return {f"{label}({name})" for name, hint in hints.items() if has_any(hint)}


def wide(module: ModuleType) -> set[str]:
    """The places of the public names with `Any`, such as `Client.run(data)`."""
    found: set[str] = set()
    for name in module.__all__:
        value = getattr(module, name)
        if not inspect.isclass(value):
            found |= (
                wide_in(name, value) if inspect.isfunction(value) else {name} if has_any(value) else set()
            )
            continue
        if not value.__module__.startswith("lume_"):
            continue
        fields = typing.get_type_hints(value, localns=TYPES_ONLY)
        found |= {f"{name}.{field}" for field, hint in fields.items() if field[0] != "_" and has_any(hint)}
        for label, function in functions_of(value):
            if label != "__init__" or not attrs.has(value):  # else its fields say the same
                found |= wide_in(f"{name}.{label}", function)
            if label == "__init__" and not attrs.has(value):
                found |= {f"{name}.{attribute}" for attribute in attributes_of(function)}
    return found


def test_public_signatures_are_precise() -> None:
    modules = [importlib.import_module(each) if isinstance(each, str) else each for each in MODULES]
    assert set().union(*map(wide, modules)) == set().union(*EDGES.values())


def test_what_is_known_to_be_wide_is_found() -> None:
    def function(given: dict[str, list[Any]] | None, other: object) -> typing.Callable[[Any], int]: ...

    assert wide_in("f", function) == {"f(given)", "f(return)"}


def test_a_request_takes_json_only() -> None:
    assert wide_in("RunRequest", lume_async.RunRequest.__init__) == set()


def wide_of_airflow(module: Path) -> Iterator[str]:
    """From its source, as Airflow is not installed here."""
    for each in ast.parse(module.read_text()).body:
        if not isinstance(each, ast.ClassDef) or each.name.startswith("_"):
            continue
        for node in each.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_") and node.name != "__init__":
                continue
            for part in (*ast.walk(node.args), ast.arg("return", node.returns)):
                if isinstance(part, ast.arg) and part.annotation and "Any" in ast.unparse(part.annotation):
                    yield f"{each.name}.{node.name}({part.arg})"


def test_signatures_for_airflow_are_precise() -> None:
    files = (ROOT / "airflow/lume_airflow").glob("[!_]*.py")
    found = {place for file in files for place in wide_of_airflow(file)}
    assert found == set().union(*OF_AIRFLOW.values())


@pytest.mark.parametrize("package", [lume_async, lume_sync])
def test_options_are_all_that_a_client_takes(package: Any) -> None:
    """So that no function that passes them on lacks a new one."""
    takes = typing.get_type_hints(package.Client.__init__)
    own = {"api_key", "base_url", "return"}  # parameters of those functions
    assert typing.get_type_hints(ClientOptions) == {name: takes[name] for name in takes.keys() - own}


@pytest.mark.parametrize("package", [lume_async, lume_sync])
def test_an_unknown_option_is_refused_with_a_similar_one(
    package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package._api, "_default", {})
    with pytest.raises(
        TypeError, match=r"^init\(\) got .* 'max_conections': did you mean 'max_connections'\?$"
    ):
        package.init("key", base_url="http://lume.test", max_conections=5)
    with pytest.raises(TypeError, match="'base_ulr': did you mean 'base_url'"):
        package.init("key", base_ulr="http://lume.test")
    with pytest.raises(TypeError, match=r"^init\(\) got an unexpected keyword argument 'colour'$"):
        package.init("key", base_url="http://lume.test", colour=5)
    assert not package._api._default


def test_an_unknown_option_of_a_server_is_refused_with_a_similar_one(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^serve\(\) got .* 'max_actve': did you mean 'max_active'\?$"):
        lume_local.serve_in_thread(data=tmp_path, max_actve=1).__enter__()
