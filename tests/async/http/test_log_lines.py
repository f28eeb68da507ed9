"""`LUME_LOG`: lines on standard error, for programs that have set up no logging."""

import io
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lume_async import Client, ConfigurationError, Event, ServerError
from lume_async.testing import FakeAnswer, fake_client, run_json

RUN = FakeAnswer(200, run_json("run_1", "FAILED"), {"X-Request-Id": "req_1"})
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
REQUEST = rf"{TIME} DEBUG lume\.http: GET /v1/runs/{{id}}: 200 in [0-9.]+ s path=/v1/runs/run_1"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Handlers and levels are the process's."""
    loggers = [logging.getLogger(name) for name in ("lume", "lume.http", None)]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.level = handlers, level
        logger.setLevel(level)


def lines(capsys: Capture) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


async def test_debug_shows_each_attempt(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("LUME_LOG", "Debug")
    root = logging.getLogger().level
    client, _ = fake_client([FakeAnswer(503), RUN])

    await client.run_status("run_1")

    first, pause, second = lines(capsys)
    assert re.fullmatch(REQUEST.replace("200", "503") + " attempt=1", first)
    assert re.fullmatch(rf"{TIME} WARNING lume\.http: GET /v1/runs/{{id}}: attempt 1 failed .*503.*", pause)
    assert re.fullmatch(REQUEST + " attempt=2 request_id=req_1", second)
    assert logging.getLogger().level == root


@pytest.mark.parametrize(("level", "shown"), [("info", 2), ("warning", 1), ("ERROR ", 0), ("", 0)])
async def test_a_level_shows_what_is_as_important(
    level: str, shown: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("LUME_LOG", level)
    client, _ = fake_client([FakeAnswer(503), RUN])

    await client.attach("run_1").refresh()

    assert len(lines(capsys)) == shown


async def test_the_programs_own_level_is_never_made_higher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUME_LOG", "error")
    logging.getLogger("lume").setLevel(logging.DEBUG)
    fake_client([])

    assert logging.getLogger("lume").level == logging.DEBUG


async def test_unset_nothing_is_written(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.delenv("LUME_LOG", raising=False)
    client, _ = fake_client([FakeAnswer(500)] * 3)

    with pytest.raises(ServerError):
        await client.run_status("run_1")

    assert lines(capsys) == []


@pytest.mark.parametrize("level", ["loud", "10", "notset", "x" * 5000])
def test_another_word_is_a_mistake(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUME_LOG", level)

    with pytest.raises(
        ConfigurationError, match="LUME_LOG must be one of debug, info, warning, error"
    ) as caught:
        Client("k", base_url="http://lume.test")
    assert len(str(caught.value)) < 200


async def test_several_clients_write_each_line_once(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("LUME_LOG", "debug")
    fake_client([])
    client, _ = fake_client([RUN])

    await client.run_status("run_1")

    assert len(lines(capsys)) == 1


@pytest.mark.parametrize("logger", ["", "lume"])
async def test_what_the_program_writes_there_is_not_written_twice(
    logger: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("LUME_LOG", "debug")
    client, _ = fake_client([RUN, RUN])
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger(logger).addHandler(handler)

    await client.run_status("run_1")
    assert lines(capsys) == ["GET /v1/runs/{id}: 200 in 0.000 s"]

    handler.setStream(io.StringIO())  # what it writes elsewhere is another matter
    await client.run_status("run_1")
    assert len(lines(capsys)) == 1


async def test_what_the_programs_handler_leaves_out_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("LUME_LOG", "debug")
    client, _ = fake_client([RUN, RUN])
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)

    handler.setLevel("ERROR")
    await client.run_status("run_1")
    assert len(lines(capsys)) == 1

    handler.setLevel("DEBUG")
    monkeypatch.setattr(logging.getLogger("lume"), "propagate", False)
    await client.run_status("run_1")
    assert len(lines(capsys)) == 1


async def test_a_record_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("LUME_LOG", "debug")

    def broken(event: Event) -> None:
        raise KeyError("mine")

    key = "a-long-key-of-mine"
    answer = FakeAnswer(503, f"\x1b[31m{key}\n".encode(), {"X-Request-Id": f"{key}\nx"})
    client, _ = fake_client([answer, RUN], api_key=key, hooks=[broken])

    await client.request("GET", "/v1/runs/run_1?token=secret")

    found = lines(capsys)
    assert sum("the hook" in line for line in found) == 5
    assert all(re.match(TIME, line) for line in found)
    text = "\n".join(found)
    assert key not in text
    assert "\x1b" not in text
    assert "token=secret" not in text


def test_a_program_that_has_no_standard_error_goes_on() -> None:
    program = """
import asyncio, sys
from lume_async.testing import *
sys.stderr = None
client, _ = fake_client([FakeAnswer(200, run_json("run_1", "FAILED"))])
print(asyncio.run(client.run_status("run_1")).status)
"""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env={"LUME_LOG": "debug"})

    assert (done.stdout, done.returncode) == ("FAILED\n", 0)
