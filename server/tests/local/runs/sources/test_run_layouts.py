"""The layout that a submission names: which are refused, what it counts for, and what its run says of it."""

from pathlib import Path
from typing import Any

import pytest
from local.servers import serve

FLOW = """
flow = "sold"
version = "v1"
[source]
identity = "{identity}"
[columns.id]
type = "integer"
required = true
[layouts.shop.columns]
id = '"ID"'
[layouts.bank.columns]
id = '"Nr"'
"""


@pytest.fixture
def sold(home: Path) -> Path:
    """A flow with two layouts, and a source that has the columns of both."""
    (home / "flows/sold.v1.toml").write_text(FLOW.replace("{identity}", "path"))
    (home / "in.csv").write_text("ID,Nr\n1,2\n")
    return home


async def test_it_is_part_of_the_submission(sold: Path) -> None:
    async with serve(sold) as wire:
        shop = await wire.run("sold:v1", "in.csv", key="k", layout="shop")
        assert (await wire.submit("sold:v1", "in.csv", key="k", layout="shop")).status == 200
        reused = await wire.submit("sold:v1", "in.csv", key="k", layout="bank")
        assert reused.kind == "idempotency-key-reused"
        assert shop["layout"] == shop["metadata"]["run"]["layout"] == "shop"
        again = await wire.submit("sold:v1", "in.csv", layout="shop")
        assert (again.kind, again.document["run_id"]) == ("already-processed", shop["id"])
        bank = await wire.run("sold:v1", "in.csv", layout="bank")
        forced = await wire.run("sold:v1", "in.csv", layout="bank", force_rerun=True)
        plain = await wire.submit("sold:v1", "in.csv", layout=None)
        assert (plain.status, "layout" in plain.document) == (201, False)
        await wire.until(plain.document["id"])
        page = await wire.ask("GET", "/v1/runs?flow=sold")
        assert [run.get("layout") for run in page.document["items"]] == [None, "bank", "bank", "shop"]
        assert len({run["id"] for run in (shop, bank, forced, plain.document)}) == 4


async def test_a_version_that_adds_a_layout_shares_the_sources_of_the_others(sold: Path) -> None:
    more = FLOW.replace("v1", "v2").replace("{identity}", "path") + "[layouts.post.columns]\nid = '\"No\"'\n"
    (sold / "flows/sold.v2.toml").write_text(more)
    async with serve(sold) as wire:
        shop = await wire.run("sold:v1", "in.csv", layout="shop")
        again = await wire.submit("sold:v2", "in.csv", layout="shop")
        assert (again.kind, again.document["run_id"]) == ("already-processed", shop["id"])
        assert (await wire.run("sold:v2", "in.csv", layout="bank"))["status"] == "SUCCEEDED"


REFUSED: dict[str, tuple[str, Any, str]] = {
    "unknown": ("sold:v1", "post", "sold:v1 has no layout 'post'; it has bank, shop"),
    "of a version without layouts": (
        "people:v1",
        "shop",
        "people:v1 has no layouts: name none, or a version",
    ),
    "empty": ("sold:v1", "", "is empty"),
    "no string": ("sold:v1", ["shop"], "must be a string"),
    "too long": ("sold:v1", "x" * 257, "the maximum is 256"),
}


async def test_what_is_refused(sold: Path) -> None:
    async with serve(sold) as wire:
        for why, (flow, layout, words) in REFUSED.items():
            for dry_run in (False, True):
                answer = await wire.submit(flow, "in.csv", layout=layout, dry_run=dry_run)
                said = answer.status, answer.kind, answer.document["field"]
                assert said == (422, "invalid-field", "layout"), why
                assert words in answer.document["detail"], why
        assert (await wire.ask("GET", "/v1/runs")).document["items"] == []
        dry = await wire.submit("sold:v1", "in.csv", layout="bank", dry_run=True)
        assert (dry.status, dry.document["layout"]) == (200, "bank")
