"""What a server of many flow versions does for a page of them."""

from typing import Any, cast

import pytest

from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.store.records import StoredFlow


class Ref(str):
    """A version that counts how often one is looked at."""

    looked_at = 0

    def partition(self, sep: str) -> tuple[str, str, str]:
        Ref.looked_at += 1
        return super().partition(sep)


@pytest.fixture
def flows() -> FlowRegistry:
    refs = [Ref(f"{name}:v{n}") for n in range(1000) for name in ("orders-2", "orders", "a")]
    stored = [StoredFlow(ref, "", {}, {}, "", f"2026-01-01T{n:06}") for n, ref in enumerate(refs)]
    return FlowRegistry(cast(Any, None), stored, cast(Any, None))


def test_pages_are_all_the_versions_in_order(flows: FlowRegistry) -> None:
    for name in (None, "a", "orders", "orders-2", "order", "z"):
        found: list[str] = []
        more = True
        while more:
            page, more = flows.page(name, found[-1] if found else None, 77)
            found += [flow.ref for flow in page]
        assert found == [flow.ref for flow in flows.all(name)]
        assert len(found) == {None: 3000, "a": 1000, "orders": 1000, "orders-2": 1000}.get(name, 0)
    assert [flow.ref for flow in flows.all()][::1000] == ["a:v0", "orders:v0", "orders-2:v0"]


def test_a_page_looks_at_its_own_versions_only(flows: FlowRegistry) -> None:
    before = Ref.looked_at
    flows.page("orders", "orders:v500", 50)
    assert Ref.looked_at - before <= 1


@pytest.mark.parametrize(
    ("name", "after"), [(None, "b:v1"), (None, ""), ("orders", "a:v1"), ("a", "orders:v1")]
)
def test_a_page_after_a_version_that_is_not_there(flows: FlowRegistry, name: str | None, after: str) -> None:
    with pytest.raises(KeyError):
        flows.page(name, after, 50)


async def test_the_newest_version(flows: FlowRegistry) -> None:
    assert await flows.newest("orders") == "orders:v999"
    assert await flows.newest("order") is None
