"""What a type checker knows of the synchronous API. Checked by mypy --strict and pyright, never run."""

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

import lume_sync as lume
from lume_sync import webhooks


@dataclass
class Customer:
    customer_id: int


def single_runs(client: lume.Client) -> None:
    run = client.run("f:v1", "a.csv", {"team": "data"}, force_rerun=True, on_duplicate="attach")
    assert_type(run, lume.LumeRun)
    assert_type(run.id, str)
    assert_type(run.status, lume.RunStatus | None)
    assert_type(run.metadata, lume.RunMetadata)
    assert_type(run.metadata.metrics.rows_mapped, int)
    assert_type(run.metadata.metrics.reject_reasons, dict[str, int])
    assert_type(run.metadata.target_locations.rejects, str | None)
    assert_type(run.metadata["target_locations"], Any)
    assert_type(run.finished_at, datetime | None)
    assert_type(run.run_metadata, dict[str, Any] | None)
    assert_type(run.reused, bool)
    assert_type(run.layout, str | None)
    assert_type(run.wait(timeout=timedelta(hours=1), poll_interval=lume.Backoff(1)), lume.LumeRun)
    assert_type(run.refresh(), None)
    assert_type(run.cancel(), None)
    for snapshot in run.watch():
        assert_type(snapshot, lume.LumeRun)
    assert_type(client.run_status("run_1"), lume.LumeRun)
    assert_type(client.attach("run_1"), lume.LumeRun)
    assert_type(client.wait_for_run_completion("run_1", max_delay=30), lume.LumeRun)
    assert_type(client.upload_file("a.csv"), str)
    assert_type(client.upload([{"id": 1}], name="a.csv", progress=print), str)
    assert_type(client.run("f:v1", data=[{"id": 1}]), lume.LumeRun)
    assert_type(run.download("mapped", "a.csv", progress=lambda sent, total: None), Path)
    assert_type(client.dry_run("f:v1", "a.csv", limit=3), lume.DryRun)
    assert_type(client.statistics(by=["day", "status"]), list[lume.RunCount])
    for entry in client.audit(by="ann"):
        assert_type(entry, lume.AuditEntry)
    assert_type((client.inbox(flow="f")).flows, list[lume.InboxFlow])
    assert_type(client.discard_rejects("known", run="run_1", rows=[1]), int)
    assert_type(client.replay("f", to="f:v2", reason="why", dry_run=True), lume.Replay)
    for rejected in client.open_rejects(flow="f", since=60, state="lost"):
        assert_type(rejected, dict[str, Any])
    assert_type(run.rerun(force=True), lume.LumeRun)
    assert_type(run.resubmit([{"id": 1}]), lume.LumeRun)
    assert_type(run.dismiss("done"), None)
    assert_type(run.deliveries(), list[lume.Delivery])
    assert_type(run.rejects("why", limit=3), lume.Rows)
    for typed in run.rejects(as_=Customer):
        assert_type(typed, Customer)
    for customer in run.mapped(as_=Customer):
        assert_type(customer, Customer)
    for row in run.mapped():
        assert_type(row, dict[str, Any])
    assert_type(client.register_flow({"flow": "f"}), lume.FlowVersion)
    assert_type((client.flow_version("f:v1")).definition, dict[str, Any])
    for flow in client.list_flows():
        assert_type(flow.columns, list[lume.FlowColumn])
    assert_type(client.with_options(request_timeout=5, headers={"X-Tenant": "a"}), lume.Client)
    if run.status == "SUCCEEDED" or run.status in ["FAILED", "CRASHED"]:
        print(f"{run.status}")


def many_runs(client: lume.Client, runs: list[lume.LumeRun]) -> None:
    assert_type(client.as_completed([*runs, "run_1"]), lume.Items[lume.Outcome[lume.LumeRun]])
    outcomes = client.wait_all(runs, timeout=60)
    assert_type(outcomes, list[lume.Outcome[lume.LumeRun]])
    assert_type(outcomes[0].result(), lume.LumeRun)
    assert_type(outcomes[0].error, Exception | None)
    requests = (lume.RunRequest("f:v1", path) for path in ["a", "b"])
    for outcome in client.run_many(requests, journal="state.db"):
        assert_type(outcome.run, lume.LumeRun | None)
        assert_type(outcome.request, lume.RunRequest | None)
    assert_type(lume.Summary.of(outcomes), lume.Summary)
    with client.monitor() as monitor:
        assert_type(monitor, lume.Monitor)
        assert_type(monitor.add("run_1"), lume.LumeRun)
        for event in monitor:
            assert_type(event, lume.RunEvent[lume.LumeRun])
            assert_type(event.previous, lume.RunStatus | None)
    for run in client.list_runs(status=lume.RunStatus.FAILED):
        assert_type(run, lume.LumeRun)
    with client.run_many(requests) as left, closing(client.run_many(requests)) as closed:
        assert_type(left, lume.Items[lume.Outcome[lume.LumeRun]])
        assert_type(closed, lume.Items[lume.Outcome[lume.LumeRun]])
        with lume.progress(left) as snapshots:
            assert_type(snapshots, lume.Items[lume.Progress])
    with runs[0].mapped() as rows, runs[0].watch() as watched, runs[0].rejects(as_=Customer) as typed:
        assert_type(rows, lume.Rows)
        assert_type(watched, lume.Items[lume.LumeRun])
        assert_type(typed, lume.Items[Customer])
    several: list[lume.Items[Any]] = [rows, typed, client.list_flows(), client.audit(), client.open_rejects()]
    for each in several:
        each.close()


def module_level() -> None:
    lume.init("key", base_url="https://lume.example.com", request_timeout=5, max_connections=10)
    assert_type(lume.run("f:v1", "a.csv"), lume.LumeRun)
    assert_type(lume.wait_all(["run_1"]), list[lume.Outcome[lume.LumeRun]])
    assert_type(lume.close(), None)


def hook(event: lume.Event) -> None:
    match event:
        case lume.RequestFinished():
            assert_type(event.duration, float)
        case lume.RunStatusChanged():
            assert_type(event.status, lume.RunStatus)
        case _:
            pass


async def key_from_a_vault() -> str:
    return "key"


lume.Client(key_from_a_vault, base_url="https://lume.example.com", hooks=[hook], retry=lume.Retry(attempts=1))
lume.Client(lambda: "key", base_url="https://lume.example.com", ssl="ca.pem", proxy=False)


def errors(error: lume.ApiError) -> None:
    assert_type(error.status_code, int | None)
    assert_type(error.retry_after, float | None)
    if isinstance(error, lume.DuplicateRunError):
        assert_type(error.run_id, str | None)
        assert_type(error.source_changed, bool | None)


def received(body: bytes, signature: str) -> None:
    assert_type(webhooks.verify(body, signature, ["new", "old"]), None)
    assert_type(webhooks.parse(body).status, lume.RunStatus)
