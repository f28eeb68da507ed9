"""`lume list`: --since, and what it says where a filter is wrong."""

import json
from collections.abc import Callable

from cli.shell import Shell

from lume_sync import Client


def test_since(shell: Shell, source: Callable[..., str], client: Client) -> None:
    run = client.run("people:v1", source())
    assert run.id in shell.lume("list", "--since", "2h", "-o", "ids").out
    assert shell.lume("list", "--since", "0").code == 2


def test_a_flow_in_all_its_versions_and_one_of_them(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    run = client.run("people:v1", source())
    assert run.id in [one.id for one in client.list_runs(flow="people")]
    for flow in ("people", "people:v1"):
        assert run.id in shell.lume("list", "--flow", flow, "-o", "ids").out.split()
    assert shell.lume("list", "--flow", "people:v2", "-o", "ids").out == ""


def test_a_filter_that_no_run_can_pass(shell: Shell, source: Callable[..., str], client: Client) -> None:
    client.run("people:v1", source())
    for words, said in (
        (["--status", "BANANA"], "'BANANA' is not a known status: CREATED, "),
        (["--flow", "peopel:v1"], "no run of 'peopel:v1' exists: did you mean 'people:v1'?"),
        (["--flow", "peopel"], "no run of 'peopel' exists: did you mean 'people'?"),
        (["--flow", "zzz"], "no run of 'zzz' exists: recent runs are of "),
    ):
        done = shell.lume("list", *words)
        assert (done.code, done.out) == (0, ""), words
        assert said in done.err
    assert said in json.loads(shell.lume("list", *words, "-o", "json").err)["warning"]["message"]


def test_filters_that_are_right_are_not_blamed(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    client.run("people:v1", source())
    assert shell.lume("list", "--flow", "people:v1", "--source", "none").err == "no runs match\n"


def test_a_filter_that_is_not_utf_8_is_refused(shell: Shell) -> None:
    for words in (["list", "--source"], ["list", "--flow"], ["list", "--status"], ["flow", "list"]):
        done = shell.lume(*words, "caf\udce9.csv")  # as Python has a byte of the command line that is none
        assert (done.code, done.out) == (2, ""), words
        assert r"'caf\udce9.csv' is not valid UTF-8" in done.err


def test_the_log_of_the_environment_is_not_doubled_by_verbose(shell: Shell) -> None:
    line = "GET /v1/runs: 200 in"
    for words, variables, times in (
        ([], {}, 0),
        (["-v"], {}, 1),
        ([], {"LUME_LOG": "debug"}, 1),
        (["-v"], {"LUME_LOG": "debug"}, 1),
        ([], {"LUME_LOG": "info"}, 0),
    ):
        done = shell.lume("list", "--source", "none", *words, **variables)
        assert (done.code, done.err.count(line)) == (0, times), (words, variables)
    wrong = shell.lume("list", LUME_LOG="loud")
    assert (wrong.code, "LUME_LOG must be one of debug" in wrong.err) == (1, True)
