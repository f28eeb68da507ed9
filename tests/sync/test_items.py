"""Every operation that yields items returns `Items`, in both packages."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from typing import Any

import attrs
import pytest

import lume_async
import lume_sync
from lume_async.testing import FakeAnswer, fake_client, run_json


@attrs.frozen
class Typed:
    id: int


CALLS: dict[str, Callable[[Any], Any]] = {
    "as_completed": lambda client: client.as_completed(["run_1"]),
    "audit": lambda client: client.audit(),
    "list_flows": lambda client: client.list_flows(),
    "list_runs": lambda client: client.list_runs(),
    "mapped": lambda client: client.attach("run_1").mapped(),
    "mapped, typed": lambda client: client.attach("run_1").mapped(as_=Typed),
    "open_rejects": lambda client: client.open_rejects(),
    "rejects": lambda client: client.attach("run_1").rejects(),
    "rejects, typed": lambda client: client.attach("run_1").rejects(as_=Typed),
    "run_many": lambda client: client.run_many([]),
    "to_arrow_batches": lambda client: client.attach("run_1").mapped().to_arrow_batches(),
    "watch": lambda client: client.watch("run_1"),
    "watch of a run": lambda client: client.attach("run_1").watch(),
}


def clients() -> tuple[lume_async.Client, lume_sync.Client]:
    core, _ = fake_client(
        lambda _: FakeAnswer(200, {**run_json("run_1", "TRANSFORMING"), "items": [{"id": 1}]})
    )
    return core, lume_sync.Client._wrap(core)


@pytest.mark.parametrize("name", CALLS)
async def test_asynchronous(name: str) -> None:
    client, _ = clients()
    items = CALLS[name](client)
    assert isinstance(items, lume_async.Items)
    async with items as same, aclosing(CALLS[name](client)):
        assert same is items
    assert [item async for item in items] == []
    await items.aclose()


@pytest.mark.parametrize("name", CALLS)
def test_synchronous(name: str) -> None:
    _, client = clients()
    items = CALLS[name](client)
    assert isinstance(items, lume_sync.Items)
    with items as same, closing(CALLS[name](client)):
        assert same is items
    assert list(items) == []
    items.close()


@pytest.mark.parametrize("name", ["watch", "mapped"])
def test_a_block_that_was_begun_ends(name: str) -> None:
    _, client = clients()
    with CALLS[name](client) as items:
        next(items)
    assert list(items) == []


def returning(package: Any) -> Iterator[tuple[str, str]]:
    """What functions and methods say that they return, if that is an iterator."""
    owners = [package, package.Client, package.LumeRun, package.Rows]
    for owner in owners:
        for name, member in inspect.getmembers(owner):
            returns = str(getattr(member, "__annotations__", {}).get("return", ""))
            if (
                not name.startswith("_")
                and callable(member)
                and any(word in returns for word in ("Iterator", "Items", "Paged"))
            ):
                yield name, returns


@pytest.mark.parametrize("package", [lume_async, lume_sync])
def test_no_operation_returns_another_iterator(package: Any) -> None:
    found = dict(returning(package))
    assert {name.partition(",")[0].partition(" ")[0] for name in CALLS} | {"progress"} == set(found)
    assert not [name for name, returns in found.items() if "Iterator" in returns]
