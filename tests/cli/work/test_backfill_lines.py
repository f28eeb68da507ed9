"""What `lume backfill` says on stderr while it works and no terminal shows a display."""

import asyncio
from pathlib import Path

import pytest

from lume_async import ApiConnectionError, RunRequest
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json
from lume_cli._options import GlobalOptions
from lume_cli._server_watch import ServerWatch
from lume_cli._session import CommandSession
from lume_cli._work.backfill import Backfill, Paths


async def check() -> None:
    """A health check that finds nothing."""


async def test_a_server_that_goes_away_is_told_while_nothing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lume_cli._work.backfill._EVERY", 0.0)
    (tmp_path / "paths.txt").write_text("a.csv\n")
    paths = Paths(str(tmp_path / "paths.txt"), lambda path: RunRequest("f:v1", path))
    session = CommandSession(GlobalOptions())
    session.server = ServerWatch("http://test", session.say, check)
    backfill = Backfill(session, paths, paths.count(), allow_partial=False)
    away, said = True, ""

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if request.method == "POST":
            return FakeAnswer(201, run_json("r1", "CREATED"))
        return ApiConnectionError("refused") if away else FakeAnswer(200, run_json("r1", "SUCCEEDED"))

    client, _ = fake_client(answer, hooks=[session.server.on_event])
    work = asyncio.ensure_future(
        backfill.until_ended(
            client, max_active=1, journal=None, retry_failed=False, on_duplicate="raise", timeout=None
        )
    )
    async with asyncio.timeout(20):
        while "the server does not respond" not in said:
            await asyncio.sleep(0)
            said += capsys.readouterr().err
        away = False
        assert await work == 0
    assert "0 of 1 finished  1 active  the server does not respond (ApiConnectionError), retrying\n" in said
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("1 of 1 finished: SUCCEEDED 1")
    assert "does not respond" not in last


async def test_what_the_journal_knew_is_no_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "paths.txt").write_text("a.csv\n")
    paths = Paths(str(tmp_path / "paths.txt"), lambda path: RunRequest("f:v1", path))
    journal = str(tmp_path / "state.db")
    client, _ = fake_client(
        lambda request: FakeAnswer(201 if request.method == "POST" else 200, run_json("r1", "SUCCEEDED"))
    )
    for _start in range(2):
        backfill = Backfill(CommandSession(GlobalOptions()), paths, paths.count(), allow_partial=False)
        await backfill.until_ended(
            client, max_active=1, journal=journal, retry_failed=False, on_duplicate="raise", timeout=None
        )
    first, second = (line for line in capsys.readouterr().err.splitlines() if "finished" in line)
    assert "/s" in first
    assert second == "1 of 1 finished: SUCCEEDED 1"


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 124), ("FAILED", 3)])
async def test_paths_that_the_timeout_has_left_are_an_error_after_the_summary_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    (tmp_path / "paths.txt").write_text("a.csv\nb.csv\nc.csv\n")
    paths = Paths(str(tmp_path / "paths.txt"), lambda path: RunRequest("f:v1", path))

    def answer(request: FakeRequest) -> FakeAnswer:
        if request.method == "POST":
            return FakeAnswer(201, run_json(request.json()["source_path"][0], "CREATED"))
        run_id = request.path.rpartition("/")[2]
        return FakeAnswer(200, run_json(run_id, status if run_id == "a" else "TRANSFORMING"))

    client, _ = fake_client(answer)
    backfill = Backfill(CommandSession(GlobalOptions()), paths, paths.count(), allow_partial=False)
    assert code == await backfill.until_ended(
        client, max_active=1, journal=None, retry_failed=False, on_duplicate="raise", timeout=60
    )
    out, err = capsys.readouterr()
    assert "error: the timeout of 60 s passed before the end of the requests" in err
    assert f"2 outcomes: {status} 1, RunTimeoutError 1" in out
