"""`lume conformance`: what it prints, and its exit codes."""

import json
from xml.etree import ElementTree

import pytest
from cli.shell import Shell

import lume_local
from lume_cli._work.conformance.kit import Result
from lume_cli._work.conformance.report import junit

LOST = ("--source", "nowhere/{new}.csv")
"""Runs of these sources fail, so that cancelling an ended one can't be checked."""


def test_a_server_that_passes(shell: Shell, server: lume_local.ThreadedServer) -> None:
    done = shell.lume("conformance", server.base_url, "--only", "cancel")

    assert (done.code, done.err) == (0, "3 pass, 0 fail, 0 not offered\n")
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["pass", f"cancel.{name}"] for name in ("stops", "ended", "unknown")
    ]


def test_a_failure_comes_with_its_request_and_response(
    shell: Shell, server: lume_local.ThreadedServer
) -> None:
    done = shell.lume("conformance", server.base_url, "--only", "cancel", *LOST)

    assert (done.code, done.err) == (7, "2 pass, 1 fail, 0 not offered\n")
    failed = done.out.partition("fail")[2].splitlines()
    assert "the run has ended FAILED" in failed[0]
    assert "name another source" in failed[0]
    assert failed[1].startswith("    > GET /v1/runs/run_")
    assert "    < 200" in failed
    assert server.api_key not in done.out


@pytest.mark.parametrize("output", ["json", "ndjson"])
def test_results_for_programs(shell: Shell, server: lume_local.ThreadedServer, output: str) -> None:
    done = shell.lume("conformance", server.base_url, "--only", "cancel", *LOST, "-o", output)

    assert (done.code, done.err) == (7, "")
    found = json.loads(done.out) if output == "json" else list(map(json.loads, done.out.splitlines()))
    assert [one["state"] for one in found] == ["pass", "fail", "pass"]
    assert set(found[1]) == {"check", "requirement", "state", "message", "seconds", "exchange"}
    assert found[1]["exchange"][0].startswith("> GET /v1/runs/run_")


def test_junit_for_continuous_integration(shell: Shell, server: lume_local.ThreadedServer) -> None:
    done = shell.lume("conformance", server.base_url, "--only", "cancel", *LOST, "-o", "junit")

    suite = ElementTree.fromstring(done.out)
    assert (done.code, suite.tag) == (7, "testsuite")
    assert suite.attrib == {
        "name": f"lume conformance {server.base_url}",
        **{"tests": "3", "failures": "1", "skipped": "0"},
    }
    assert [(case.get("classname"), case.get("name")) for case in suite] == [
        ("lume.cancel", f"cancel.{name}") for name in ("stops", "ended", "unknown")
    ]
    (failure,) = suite.iter("failure")
    assert "the run has ended FAILED" in str(failure.get("message"))
    assert "> GET /v1/runs/run_" in str(failure.text)


def test_junit_of_any_text() -> None:
    """XML has no place for most control characters: they come as escapes, as everywhere."""
    message, shown = "<&\"'>é\u2603\n\0\x1b\ud800\uffff", "<&\"'>é\u2603\n\\x00\\x1b\\ud800\\uffff"
    text = junit(
        [Result("a.b", "it must", "not offered", "none of it", 0.5), Result("a.c", "it", "fail", message)],
        "u",
    )

    assert text.isascii()
    _, failed = ElementTree.fromstring(text)
    assert failed[0].get("message") == shown


def test_data_of_ones_own(shell: Shell, server: lume_local.ThreadedServer) -> None:
    (shell.folder / "people.csv").write_text("id,Email,Age\n1,{new}@example.org,31\n")
    flow = ("--flow", "people:v1", "--data", "people.csv")

    done = shell.lume("conformance", server.base_url, "--only", "core", "--only", "rows", *flow)

    assert (done.code, "fail " in done.out) == (0, False)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["http://127.0.0.1:9"], 1, "GET http://127.0.0.1:9/healthz: no response"),
        (["ftp://127.0.0.1"], 1, "base_url"),
        (["http://user:secret-word@127.0.0.1"], 1, "base_url"),
        (["http://127.0.0.1:9", "--only", "wish"], 2, "there is no capability 'wish', but core, keys"),
        (["http://127.0.0.1:9", "--data", "none.csv"], 2, "none.csv"),
        (["http://127.0.0.1:9", "--source", "a.csv"], 2, "--source needs {new}: each run needs a new source"),
        ([], 2, "Missing argument 'URL'"),
    ],
)
def test_what_can_not_be_checked_is_one_error(lone: Shell, args: list[str], code: int, told: str) -> None:
    done = lone.lume("conformance", *args)

    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert "Traceback" not in done.err
    assert "secret-word" not in done.err
