"""The three Python blocks of the documented SDK's advanced guide run word for word with the synchronous API.

The guide is not part of this project: it is read from where a checkout beside it has it, else the test is skipped.
Only its two placeholders are filled in.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lume_local
import lume_sync as lume

GUIDE = Path(__file__).parents[3] / "shared" / "seeds" / "advanced-topics.md"

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason=f"the guide is not at {GUIDE}")

FLOW = """
flow = "customer_cleaner"
version = "v1"
[columns.id]
type = "integer"
required = true
[columns.work]
sql = '''list_sum(list_transform(range(200000), lambda i: (i + length("id")) % 7))'''
type = "integer"
"""
"""Every row is a hundredth of a second of real work: enough of them, and a run can be caught while it works."""

SOURCES = {
    "SUCCEEDED": "id\n1\n2\n",
    "PARTIAL_FAILED": "id\n1\nnot a number\n",
    "FAILED": "another column\n1\n",
    "CRASHED": "id\n" + "".join(f"{n}\n" for n in range(20_000)),
}


def blocks() -> list[str]:
    found = re.findall(r"```python[^\n]*\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 3
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "customer_cleaner.v1.toml").write_text(FLOW)
    for status, text in SOURCES.items():
        (tmp_path / status).write_text(text)
    (tmp_path / "failed_batch_abc_123").write_text(SOURCES["SUCCEEDED"])
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[lume_local.ThreadedServer]:
    with lume_local.serve_in_thread(flows=folder / "flows", data=folder / "data", roots=[folder]) as running:
        lume.init(running.api_key, base_url=running.base_url)
        yield running
        lume.close()


def test_forcing_a_rerun(server: lume_local.ThreadedServer) -> None:
    lume.run("customer_cleaner:v1", "failed_batch_abc_123").wait()
    with pytest.raises(lume.DuplicateRunError):
        lume.run("customer_cleaner:v1", "failed_batch_abc_123")
    namespace: dict[str, Any] = {"lume": lume}
    exec(blocks()[0], namespace)
    run = namespace["run"]
    assert run.wait().succeeded
    assert run.force_rerun


@pytest.mark.parametrize("status", SOURCES)
def test_waiting_and_handling_every_end(
    server: lume_local.ThreadedServer,
    status: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def sleep(_seconds: float) -> None:
        """The guide sleeps 5 s and more: here until something has happened to the run."""
        (run,) = lume.list_runs(source_path=status, limit=1)
        for snapshot in run.watch():
            if status == "CRASHED" and snapshot.status == "TRANSFORMING":  # its worker is at work
                os.kill(server.workers()[run.id], signal.SIGKILL)

    monkeypatch.setattr(time, "sleep", sleep)
    _rerun, waiting, handling = blocks()
    calls: list[tuple[str, dict[str, Any]]] = []
    namespace: dict[str, Any] = {
        "lume": lume,
        "trigger_reporting_job": lambda location: calls.append(("report", {"location": location})),
        "notify_data_stewards": lambda **said: calls.append(("stewards", said)),
        "alert_on_call": lambda **said: calls.append(("alert", said)),
    }
    exec(waiting.replace("lume.run(...)", f"lume.run('customer_cleaner:v1', {status!r})"), namespace)
    run = namespace["final_run"]
    exec(handling.replace("run_01HY...", run.id), namespace)

    assert run.status == status
    assert f"Run {run.id} finished with status: {status}" in capsys.readouterr().out
    names = [name for name, _said in calls]
    said = dict(calls)
    if status == "SUCCEEDED":
        assert names == ["report"]
        assert Path(said["report"]["location"]).stat().st_size
    elif status == "PARTIAL_FAILED":
        assert names == ["report", "stewards"]
        assert said["stewards"]["run_id"] == run.id
        assert "not a number" in Path(said["stewards"]["rejects_location"]).read_text()
    else:
        assert names == ["alert"]
        assert said["alert"]["error_message"]


def test_attempts_used_up_is_a_timeout_error(
    server: lume_local.ThreadedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    waiting = blocks()[1].replace("lume.run(...)", "lume.run('customer_cleaner:v1', 'CRASHED')")
    namespace: dict[str, Any] = {"lume": lume}
    exec(waiting, namespace)
    assert "did not complete after 10 attempts" in capsys.readouterr().out
    namespace["initial_run"].cancel()
