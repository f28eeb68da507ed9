"""`lume doctor`: one line per thing that can be wrong, with what to do."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cli.shell import Shell
from click.testing import CliRunner

from lume_cli._app import app

CAPABLE = {"Lume-Capabilities": "idempotency"}
NO_RUNS = b'{"items": [], "next_cursor": null}'


@contextmanager
def service(
    status: int = 200,
    headers: dict[str, str] = CAPABLE,
    *,
    date: str | None = None,
    runs: int = 200,
    health: bytes = b"{}",
) -> Iterator[str]:
    """A service whose health check answers so; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_health = self.path == "/healthz"
            self.send_response_only(status if is_health else runs)
            if date != "":
                self.send_header("Date", date or self.date_time_string())
            for name, value in headers.items():
                self.send_header(name, value)
            body = health if is_health else NO_RUNS
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def doctor(
    no_server: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, dict[str, dict[str, str]]]]:
    """Asks the doctor with these variables; the exit code and the findings by what was looked at."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def ask(**variables: str) -> tuple[int, dict[str, dict[str, str]]]:
        for name, value in {"LUME_API_KEY": "sEcReT", **variables}.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, ["doctor", "-o", "ndjson"])
        assert "sEcReT" not in result.output
        return result.exit_code, {line["check"]: line for line in map(json.loads, result.stdout.splitlines())}

    return ask


Ask = Callable[..., tuple[int, dict[str, dict[str, str]]]]


def test_all_is_well(shell: Shell) -> None:
    done = shell.lume("doctor")
    assert (done.code, done.err) == (0, "")
    lines = [
        line.split()[:2] for line in done.out.splitlines() if " backup " not in line
    ]  # or there is none yet
    checks = ["configuration", "key", "url", "proxy", "connection", "service", "clock", "access"]
    assert lines == [["ok", check] for check in checks]


def test_a_refused_key_is_4(shell: Shell) -> None:
    done = shell.lume("doctor", LUME_API_KEY="wrong")
    assert done.code == 4
    assert done.out.splitlines()[-1].startswith("fail  access")


def test_a_key_that_may_not_read_is_not_called_unknown(doctor: Ask) -> None:
    for runs, words in (
        (403, "listing runs was refused: GET /v1/runs: 403"),
        (401, "rejected the key (401)"),
    ):
        with service(runs=runs) as url:
            code, found = doctor(LUME_BASE_URL=url)
        assert (code, found["access"]["state"]) == (4, "fail")
        assert words in found["access"]["message"]


def test_no_settings_at_all(doctor: Ask) -> None:
    code, found = doctor(LUME_API_KEY="")
    assert code == 4
    assert (found["key"]["state"], found["url"]["state"]) == ("fail", "fail")
    assert "LUME_API_KEY" in found["key"]["fix"]
    assert "LUME_BASE_URL" in found["url"]["fix"]


def test_a_clock_that_is_wrong(doctor: Ask) -> None:
    for date, word in (
        ("Tue, 01 Jan 2030 00:00:00 GMT", "behind"),
        ("Wed, 01 Jan 2020 00:00:00 GMT", "ahead of"),
    ):
        with service(date=date) as url:
            code, found = doctor(LUME_BASE_URL=url)
        assert (code, found["clock"]["state"], found["access"]["state"]) == (1, "fail", "ok"), (date, word)
        assert word in found["clock"]["message"]
        assert "fix" in found["clock"]


def test_a_service_that_tells_no_time(doctor: Ask) -> None:
    for date in ("", "yesterday"):
        with service(date=date) as url:
            code, found = doctor(LUME_BASE_URL=url)
        assert (code, found["clock"]["state"]) == (0, "warn"), date


def test_the_age_of_the_copy_of_the_state(doctor: Ask) -> None:
    for health, state in (
        (b'{"backup_age_seconds": 3000}', "ok"),
        (b'{"backup_age_seconds": 9000}', "warn"),
        (b'{"backup_age_seconds": "old"}', None),
        (b'{"backup_age_seconds": -1}', None),
        (b'{"status": "ok"}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"[", None),
        (b'{"waiting": 1}', None),
        (b'{"waiting": [1]}', None),
    ):
        with service(health=health) as url:
            code, found = doctor(LUME_BASE_URL=url)
        assert (code, found.get("backup", {}).get("state")) == (0, state), health
        assert "waiting" not in found
        assert state != "warn" or "2 h 30 min" in found["backup"]["message"]


def test_what_waits_elsewhere_is_a_warning(doctor: Ask) -> None:
    with service(health=b'{"status": "ok", "waiting": ["recovering runs: 1 run waits (run_1)"]}') as url:
        code, found = doctor(LUME_API_KEY="key", LUME_BASE_URL=url)
    assert (code, found["waiting"]["state"]) == (0, "warn")
    assert found["waiting"]["message"] == "recovering runs: 1 run waits (run_1)"


def test_a_service_that_is_something_else(doctor: Ask) -> None:
    with service(404, {}, runs=404) as url:
        _code, found = doctor(LUME_BASE_URL=url)
    assert (found["service"]["state"], "is this a Lume service?" in found["service"]["message"]) == (
        "warn",
        True,
    )


def test_a_redirect_names_the_other_place(doctor: Ask) -> None:
    with service(308, {"Location": "https://new.test/"}) as url:
        code, found = doctor(LUME_BASE_URL=url)
    assert (code, found["service"]["state"]) == (1, "fail")
    assert "https://new.test/" in found["service"]["message"]


def test_why_a_service_can_not_work(doctor: Ask) -> None:
    for body, text in (
        (
            b'{"status": 503, "detail": "the disk is\\u001b[2J full"}',
            "GET /healthz returned 503: the disk is[2J full",
        ),
        (b'{"detail": 1}', "GET /healthz returned 503"),
        (b"<html>", "GET /healthz returned 503"),
        (b'{"detail": "' + b"x" * 9000 + b'"}', "GET /healthz returned 503: " + "x" * 500),
    ):
        with service(503, health=body) as url:
            code, found = doctor(LUME_BASE_URL=url)
        assert (code, found["service"]["message"]) == (1, text), (body, text)


def test_nobody_listens(doctor: Ask) -> None:
    code, found = doctor(LUME_BASE_URL="http://127.0.0.1:9")
    assert (code, found["connection"]["state"]) == (1, "fail")
    assert "nothing is listening there" in found["connection"]["message"]


def test_a_name_that_leads_nowhere(doctor: Ask) -> None:
    code, found = doctor(LUME_BASE_URL="https://lume.invalid")
    assert code == 1
    assert "can't be resolved" in found["connection"]["message"]


def test_https_to_a_port_without_tls(doctor: Ask) -> None:
    with service() as url:
        code, found = doctor(LUME_BASE_URL=url.replace("http:", "https:"))
    assert code == 1
    assert "does not speak TLS" in found["connection"]["message"]


def test_a_proxy_in_the_environment(doctor: Ask) -> None:
    with service() as url:
        code, found = doctor(LUME_BASE_URL=url, HTTP_PROXY="http://user:sEcReT@127.0.0.1:9")
        assert (code, found["proxy"]["state"], found["connection"]["state"]) == (1, "warn", "fail")
        assert "NO_PROXY" in found["proxy"]["fix"]
        code, found = doctor(LUME_BASE_URL=url, NO_PROXY="127.0.0.1")
        assert (code, found["proxy"]["state"]) == (0, "ok")
        code, found = doctor(LUME_BASE_URL=url, HTTP_PROXY="socks://x", NO_PROXY="")
        assert (code, found["proxy"]["state"]) == (1, "fail")


@pytest.mark.parametrize(
    ("variables", "check", "state"),
    [
        ({"LUME_BASE_URL": "lume.test"}, "url", "fail"),
        ({"LUME_BASE_URL": "http://lume.invalid"}, "url", "warn"),
        ({"LUME_API_KEY": '"quoted"', "LUME_BASE_URL": "http://127.0.0.1:9"}, "key", "warn"),
        ({"LUME_API_KEY": "ünïcode", "LUME_BASE_URL": "http://127.0.0.1:9"}, "key", "fail"),
        ({"LUME_PROFILE": "missing"}, "configuration", "fail"),
    ],
)
def test_settings_that_are_wrong(doctor: Ask, variables: dict[str, str], check: str, state: str) -> None:
    code, found = doctor(**variables)
    assert (found[check]["state"], code != 0) == (state, True)
    assert found[check]["fix"]
