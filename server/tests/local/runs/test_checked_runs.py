"""`[checks]` on a server: a violated one fails a run, is foreseen by a dry run, or is told to people."""

from pathlib import Path
from typing import Any

import pytest
from local.people import chat
from local.servers import serve
from local.wire import Wire

from lume_local._messages import messenger
from lume_local._runs.deliveries import outbox

FLOW = """
flow = "orders"
version = "{version}"
[source]
footer = {{ starts_with = ["Total"] }}
[columns.id]
type = "integer"
required = true
[columns.amount]
type = "number"
sql_type = "DECIMAL(10,2)"
[checks]
on_violation = "{mode}"
rows = {{ min = 3 }}
[checks.columns.amount]
sum = {{ equals = "footer" }}
[[expect]]
name = "enough"
sql = "rows_read >= 3"
[[expect]]
name = "many"
sql = "rows_read >= 2"
on_fail = "warn"
"""
BAD = "id,amount\n1,1.10\nx,2.20\ny,3.30\nTotal,6.61\n"
SAID = "the check of sum of amount failed, 6.60 found, 6.61 expected"


@pytest.fixture
def home(home: Path) -> Path:
    for version, mode in (("v1", "fail"), ("v2", "tell")):
        (home / f"flows/orders.{version}.toml").write_text(FLOW.format(version=version, mode=mode))
    (home / "orders.csv").write_text(BAD)
    return home


def warned(run: dict[str, Any]) -> list[str]:
    return list(run["metadata"]["metrics"]["warnings"])


async def test_a_violated_check_publishes_nothing_and_a_mend_is_not_checked(home: Path) -> None:
    async with serve(home) as wire:
        tried = (await wire.submit("orders:v1", "orders.csv", dry_run=True)).document
        failed = await wire.run("orders:v1", "orders.csv")
        told = await wire.run("orders:v2", "orders.csv")
        mends = [await _mended(wire, told), await _replayed(wire), await _edited(wire, told)]
        (home / "orders.csv").write_text(BAD.replace("6.61", "6.60"))
        right = await wire.run("orders:v1", "orders.csv", force_rerun=True)
    for one in (tried, failed):
        assert one["status"] == "FAILED"
        assert one["metadata"]["error_message"].startswith(f"{SAID}. Nothing was written: ask for")
    assert set(failed["metadata"]["target_locations"].values()) == {None}
    assert failed["metadata"]["metrics"]["reject_reasons"] == {"id: is not a valid integer": 2}
    assert (told["status"], warned(told)) == ("PARTIAL_FAILED", [SAID])
    assert [one["status"] for one in mends] == ["SUCCEEDED", "PARTIAL_FAILED", "SUCCEEDED"]
    assert [one["metadata"]["metrics"]["rows_read"] for one in mends] == [1, 1, 1]
    assert not any(words == "many" or "the check of" in words for one in mends for words in warned(one))
    (words,) = warned(right)  # of the corrections alone
    assert (right["status"], words.partition(" are ")[0]) == ("PARTIAL_FAILED", "2 corrected rows")


async def _mended(wire: Wire, run: dict[str, Any]) -> dict[str, Any]:
    text = "_lume_row,_lume_reasons,id,amount\n2,,2,2.20\n"
    assert (await wire.ask("PUT", "/v1/uploads/mended.csv", data=text)).status == 201
    return await wire.run("orders:v2", "upload://mended.csv", run_metadata={"resubmit_of": run["id"]})


async def _replayed(wire: Wire) -> dict[str, Any]:
    answer = (await wire.ask("POST", "/v1/replays", json={"flow": "orders"})).document
    return await wire.until(answer["runs"][0]["id"])


async def _edited(wire: Wire, run: dict[str, Any]) -> dict[str, Any]:
    edit = {"run": run["id"], "row": 2, "rev": 0, "cells": {"id": "3"}}
    rev = (await wire.ask("PATCH", "/v1/drafts/orders", json={"rows": [edit]})).document["rev"]
    verdict = (await wire.ask("POST", "/v1/drafts/orders/judge", json={})).document
    assert [one["reasons"] for one in verdict["items"]] == [[]], "a trial of some rows is not checked, too"
    answer = (await wire.ask("POST", "/v1/drafts/orders/submit", json={"rev": rev})).document
    return await wire.until(answer["runs"][0]["id"])


async def test_what_people_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first clause of a failure, which is all that a message without values has, names the check."""
    monkeypatch.setattr(outbox, "UNIT", 0.0001)
    monkeypatch.setattr(messenger, "LOOK", 0.02)
    rules = home / "arrivals.toml"
    rules.write_text('[[message]]\non = ["FAILED", "warn.unusual"]\nflows = ["*"]\nto_env = ["OPS_URL"]\n')
    async with chat() as ops:
        monkeypatch.setenv("OPS_URL", ops.address)
        async with serve(home, messages=rules, public_url="https://lume.example.com/") as wire:
            await wire.run("orders:v2", "orders.csv")
            await wire.run("orders:v1", "orders.csv")
            told, failed = sorted(await ops.until(2), key=lambda one: one["title"], reverse=True)
    assert (told["title"], SAID in told["message"]) == ("orders: a run is unusual", True)
    assert failed["title"] == "orders: a run failed"
    assert "Reason: the check of sum of amount failed, … found, … expected\n" in failed["message"]
