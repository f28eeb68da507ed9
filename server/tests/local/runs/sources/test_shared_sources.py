"""A version that only adds layouts shares the sources of those before it: a file sent again is a duplicate."""

from pathlib import Path
from typing import Any, cast

import pytest
from local.flows import people
from local.servers import serve
from local.states import moved
from local.wire import Wire

from lume_local._flow.definition import read_definition
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import Duplicate, NewRun, StoredFlow

A, B, C = ({"columns": {"id": f'"{name}"'}} for name in "abc")
OWN = {"columns": {"id": '"id"'}}
"""What a version without layouts reads."""
BOTH = ("people:v1", "people:v2")


def known(version: str, cleaners: tuple[str, ...] = (), **changes: Any) -> StoredFlow:
    flow = read_definition(people(version=version, **changes))
    compiled = {"cleaners": list(cleaners)}
    return StoredFlow(flow.ref, flow.content_hash, flow.definition, compiled, "", f"2024-01-0{version[1:]}")


def registry(*flows: StoredFlow) -> FlowRegistry:
    return FlowRegistry(cast(Any, None), list(flows), cast(Any, None))


@pytest.mark.parametrize(
    ("first", "second", "is_shared"),
    [
        (known("v1", layouts={"a": A}), known("v2", layouts={"a": A, "b": B}), True),
        (known("v1", layouts={"a": A, "b": B}), known("v2", layouts={"b": B}), True),
        (known("v1", layouts={"a": A, "b": B}), known("v2", layouts={"b": B, "a": A}), True),
        (known("v1", layouts={"a": A}), known("v2", layouts={"a": A, "b": B}, description="With b."), True),
        (known("v1", layouts={"a": A}), known("v2", layouts={"a": A, "b": B}, engine={"shards": 2}), True),
        (known("v1", ("x",), layouts={"a": A}), known("v2", ("x", "y"), layouts={"a": A, "b": B}), True),
        (known("v1", ("old x",), layouts={"a": A}), known("v2", ("x", "y"), layouts={"a": A, "b": B}), False),
        (known("v1", layouts={"a": A}), known("v2", layouts={"a": B, "b": A}), False),
        (known("v1", layouts={"a": A, "b": B}), known("v2", layouts={"a": A, "c": C}), False),
        (known("v1", layouts={"a": A}), known("v2", layouts={"a": A, "b": B}, source={"null": ["-"]}), False),
        (
            known("v1", layouts={"a": A}),
            known("v2", layouts={"a": A, "b": B}, rejects={"max_ratio": 0.1}),
            False,
        ),
        (
            known("v1", layouts={"a": A}),
            known("v2", layouts={"a": A, "b": B}, columns={"id": {"type": "integer"}}),
            False,
        ),
        (known("v1"), known("v2", layouts={"a": A}), False),
        (known("v1"), known("v2", layouts={"a": A, "v1": OWN}), True),
        (known("v1"), known("v2", layouts={"v1": OWN}), True),
        (known("v1", ("x",)), known("v2", ("x", "y"), layouts={"a": A, "v1": OWN}), True),
        (known("v1", ("old x",)), known("v2", ("x", "y"), layouts={"a": A, "v1": OWN}), False),
        (known("v1"), known("v2", layouts={"v1": OWN | {"match": "old/*"}}), False),
        (known("v1"), known("v2"), False),
        (known("v1", layouts={"a": A}), known("v2", flow="others", layouts={"a": A, "b": B}), False),
    ],
)
def test_versions_that_only_add_layouts_are_alike(
    first: StoredFlow, second: StoredFlow, is_shared: bool
) -> None:
    flows = registry(first, second)
    for one in (first, second):
        assert (set(flows.alike(one.ref)) == {first.ref, second.ref}) is is_shared
        assert is_shared or flows.alike(one.ref) == ()


def test_a_chain_of_versions_is_alike_and_two_that_add_others_are_not() -> None:
    flows = registry(
        known("v1", layouts={"a": A}),
        known("v2", layouts={"a": A, "b": B}),
        known("v3", layouts={"a": A, "c": C}),
        known("v4", layouts={"a": A, "b": B, "c": C}),
    )
    assert flows.alike("people:v1") == ("people:v1", "people:v2", "people:v3", "people:v4")
    assert flows.alike("people:v2") == ("people:v1", "people:v2", "people:v4")
    assert flows.alike("people:v4") == ("people:v1", "people:v2", "people:v3", "people:v4")


def test_two_versions_without_layouts_share_only_with_the_one_between_them() -> None:
    flows = registry(known("v1"), known("v2", layouts={"v1": OWN, "a": A}), known("v3", description="Again."))
    assert flows.alike("people:v1") == BOTH
    assert flows.alike("people:v2") == ("people:v1", "people:v2", "people:v3")
    assert flows.alike("people:v3") == ("people:v2", "people:v3")


def new(flow_version: str, alike: tuple[str, ...] = BOTH, *, force: bool = False) -> NewRun:
    return NewRun(flow_version, "a.csv", "/a.csv", None, force, None, "x", alike=alike)


@pytest.mark.parametrize(("first", "second"), [BOTH, BOTH[::-1]])
async def test_a_source_of_either_version_is_taken(store: SqlStore, first: str, second: str) -> None:
    run, _ = await store.create(new(first))
    with pytest.raises(Duplicate) as caught:
        await store.create(new(second))
    assert (caught.value.run_id, caught.value.flow_version, caught.value.is_active) == (
        run.run_id,
        first,
        True,
    )
    other, _ = await store.create(new("people:v3", ()))
    await moved(store, other.run_id, "CANCELLED")

    for step in ("SYNCING_SOURCE", "TRANSFORMING", "SUCCEEDED"):
        await moved(store, run.run_id, step)
    with pytest.raises(Duplicate) as caught:
        await store.create(new(second))
    assert (caught.value.run_id, caught.value.flow_version, caught.value.is_active) == (
        run.run_id,
        first,
        False,
    )
    again, is_new = await store.create(new(second, force=True))
    assert (again.flow_version, is_new) == (second, True)


async def test_a_source_that_no_version_could_read_is_free(store: SqlStore) -> None:
    run, _ = await store.create(new("people:v1"))
    for step in ("SYNCING_SOURCE", "FAILED"):
        await moved(store, run.run_id, step)
    _, is_new = await store.create(new("people:v2"))
    assert is_new


ALONE = """
flow = "orders"
version = "v1"
[source]
identity = "IDENTITY"
format = "fixed"
fixed = { widths = [9, 8], encoding = "cp1252" }
footer = { starts_with = ["Sum"] }
[columns.order_id]
from = ["Order ID"]
type = "integer"
required = true
[columns.amount]
sql = '''parse_money("Total")'''
type = "number"
"""
LAYERED = """
flow = "orders"
version = "v2"
[source]
identity = "IDENTITY"
[columns.order_id]
type = "integer"
required = true
[columns.amount]
type = "number"
[layouts.v1.source]
format = "fixed"
fixed = { widths = [9, 8], encoding = "cp1252" }
footer = { starts_with = ["Sum"] }
[layouts.v1.columns]
order_id = { from = ["Order ID"] }
amount = '''parse_money("Total")'''
[layouts.dupont.columns]
order_id = '"Numéro"'
amount = '"Montant"'
"""
"""The same, and another sender."""
LINES = "Order ID Total   \n1        $ 5.00  \n2        free    \nSum      $ 5.00  \n"


def write(home: Path, identity: str = "path") -> None:
    (home / "old.txt").write_text(LINES)
    (home / "new.csv").write_text("Numéro,Montant\n3,4\n")
    for text in (ALONE, LAYERED):
        version = text.partition('version = "')[2][:2]
        (home / f"flows/orders.{version}.toml").write_text(text.replace("IDENTITY", identity))


@pytest.mark.parametrize("identity", ["path", "content"])
async def test_the_first_version_with_layouts_takes_over_the_sources_of_the_one_without(
    wire: Wire, home: Path, identity: str
) -> None:
    write(home, identity)
    first = await wire.run("orders:v1", "old.txt")
    again = await wire.submit("orders:v2", "old.txt")
    assert (again.status, again.kind, again.document["run_id"]) == (409, "already-processed", first["id"])
    assert again.document["detail"].startswith(f"orders:v1 has processed 'old.txt' in run {first['id']}: ")
    other = await wire.run("orders:v2", "new.csv")
    refused = await wire.submit("orders:v1", "new.csv")
    assert (refused.status, refused.document["run_id"]) == (409, other["id"])

    forced = await wire.run("orders:v2", "old.txt", force_rerun=True)
    assert [*forced["metadata"]["metrics"]["source"]["layouts"]] == ["v1"]
    for run in (first, forced):
        page = (await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")).document
        assert page["items"] == [{"order_id": 1, "amount": 5.0}]
    reasons = [run["metadata"]["metrics"]["reject_reasons"] for run in (first, forced)]
    assert reasons[0] == reasons[1]
    if identity == "content":
        (home / "old.txt").write_text(LINES.replace("5.00", "6.00"))
        assert (await wire.run("orders:v2", "old.txt"))["status"] == "PARTIAL_FAILED"


async def test_on_a_development_server_each_version_has_its_own_sources(home: Path) -> None:
    write(home)
    async with serve(home, dev=True) as wire:
        for version in ("v1", "v2"):
            assert (await wire.run(f"orders:{version}", "old.txt"))["status"] == "PARTIAL_FAILED"
            assert (await wire.submit(f"orders:{version}", "old.txt")).status == 409
