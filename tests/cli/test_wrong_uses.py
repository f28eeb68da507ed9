"""Each wrong use says what was wrong, where, and what to do; none ends in a traceback or without a word."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cli.shell import Shell
from local.flows import PEOPLE

from lume_cli._app import app
from lume_cli._output import exit_codes
from lume_sync import Client

USES = [
    # arguments and options
    ("run people:v1 /dev/null --upload", 2, "--upload: /dev/null is not a file that can be sent"),
    ("run people:v1 gone.csv --upload", 2, "--upload: gone.csv does not exist"),
    ("run people:v1 folder --upload", 2, "--upload: folder is a folder: pass a file in it"),
    ("run people:v1 a.csv --seed x", 2, "'x' must look like NAME=FILE"),
    ("run people:v1 a.csv --seed x=gone.csv", 2, "--seed x: gone.csv does not exist"),
    ("run people:v1 \udcff.csv", 2, "source_path is not valid UTF-8"),
    ("list -o csv", 2, "use table, json, ndjson, ids or sources"),
    ("key new a", 2, "Missing option '--role'. Choose from: read, submit, admin"),
    ("key new a --role read --keys=", 2, "'--keys': it is empty: name a file"),
    ("backfill people:v1 a.csv --journal=", 2, "'--journal': it is empty: name a file"),
    ("discard people --run x --why y", 2, "name either a FLOW, or a run with --run"),
    ("flow list people:v1", 2, "name the flow, 'people'"),
    # files
    ("arrivals check gone.toml", 2, "'gone.toml' does not exist"),
    ("flow check gone.toml", 2, "'gone.toml' does not exist"),
    ("flow check folder", 2, "no flow files (*.toml) in the folder folder"),
    ("flow diff gone.toml", 2, "gone.toml can't be read: No such file or directory"),
    ("flow map gone.json a.csv", 2, "'SAMPLE...': File 'a.csv' does not exist"),
    ("flow map gone.json empty", 2, "gone.json can't be read: No such file or directory"),
    ("flow map gone.toml empty", 2, "gone.toml can't be read: No such file or directory"),
    ("flow map gone.yml:people empty", 2, "gone.yml can't be read: No such file or directory"),
    ("flow ddl gone.toml --for sqlite", 2, "gone.toml can't be read: No such file or directory"),
    ("flow contract gone.toml", 2, "gone.toml can't be read: No such file or directory"),
    ("backfill people:v1 --from-file gone.txt", 2, "gone.txt can't be read: No such file or directory"),
    ("backup copy --data gone", 2, "'--data': Directory 'gone' does not exist"),
    ("backup copy --data folder --state gone", 2, "'--state': Directory 'gone' does not exist"),
    ("restore gone --data new", 2, "'DIR': Directory 'gone' does not exist"),
    ("message check bytes", 1, "error: bytes is not UTF-8"),
    ("arrivals check empty", 0, "empty has no [[arrival]] table: nothing is watched"),
    ("resubmit RUN /dev/null", 2, "'/dev/null' is not a file"),
    ("flow try flow.toml empty", 3, "its first line must name the columns: is it empty?"),
    ("restore folder --data empty", 1, "folder is not a backup"),
    # what the server does not have
    ("inbox peopel", 1, "there is no flow 'peopel': did you mean 'people'?"),
    ("discard peopel --why y", 1, "there is no flow 'peopel': did you mean 'people'?"),
    ("replay peopel", 1, "there is no flow 'peopel': did you mean 'people'?"),
    ("flow list peopel", 0, "there is no flow 'peopel': did you mean 'people'?"),
    ("arrivals list acme", 1, "there is no arrival 'acme': known are none"),
    ("arrivals list", 0, "this server watches nothing: start it with --arrivals FILE"),
    # a server, in the words of its options
    ("serve --no-flows --data empty", 1, "can't be used: not a folder: "),
    (
        "serve --no-flows --keep-audit 1d",
        1,
        "error: --keep-audit must be at least 90 days, not 1 day: write 90d",
    ),
    ("serve --no-flows --tls-cert empty", 1, "error: --tls-cert and --tls-key belong together"),
    ("serve --no-flows --keys gone.toml", 2, "'--keys': File 'gone.toml' does not exist"),
    ("serve --no-flows --arrivals gone.toml", 2, "'--arrivals': File 'gone.toml' does not exist"),
    ("serve --no-flows --messages gone.toml", 2, "'--messages': File 'gone.toml' does not exist"),
    ("serve --no-flows --tls-cert gone.pem --tls-key empty", 2, "'--tls-cert': File 'gone.pem' does not"),
    ("serve --no-flows --tls-cert empty --tls-key gone.pem", 2, "'--tls-key': File 'gone.pem' does not"),
    ("serve --flows gone", 2, "--flows gone does not exist: make it, or pass --no-flows"),
    ("serve --flows empty", 2, "--flows empty is a file; pass its folder: --flows ."),
    ("serve --no-flows --root gone", 2, "--root gone does not exist"),
    ("serve --no-flows --state-env GONE", 1, "error: --state-env: the variable GONE is not set"),
    ("serve --no-flows --root s3://", 1, "error: --root: 's3:' is not the URL of an object"),
]


@pytest.fixture(scope="module")
def run_id(home: Path, client: Client) -> str:
    (home / "wrong.csv").write_text("id,Email,Age\n1,no,5\n2,a@b.org,6\n")
    return client.run("people:v1", "wrong.csv").wait(20).id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff\x81")
    (tmp_path / "flow.toml").write_text(PEOPLE)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("line", "code", "words"), USES)
def test_it_says_what_was_wrong(shell: Shell, run_id: str, line: str, code: int, words: str) -> None:
    done = shell.lume(*line.replace("RUN", run_id).split())

    assert (done.code, words in done.out + done.err) == (code, True), f"{done.out}{done.err}"
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err


SETTINGS = [
    ({"LUME_REQUEST_TIMEOUT": "-1"}, "LUME_REQUEST_TIMEOUT must be a number of seconds above 0, not '-1'"),
    ({"LUME_REQUEST_TIMEOUT": "nan"}, "LUME_REQUEST_TIMEOUT must be a number of seconds above 0, not 'nan'"),
    ({"LUME_API_KEY": "ä ö"}, "the API key from LUME_API_KEY is not a valid API key"),
]


@pytest.mark.parametrize(("variables", "words"), SETTINGS)
def test_a_wrong_setting_is_named_with_its_origin(
    shell: Shell, variables: dict[str, str], words: str
) -> None:
    done = shell.lume("list", **variables)

    assert (done.code, words in done.err) == (1, True), done.err


PROFILES = [
    (b"[default]\nrequest_timeout = -1\n", "[default] request_timeout must be a number of seconds above 0"),
    (b"\xff\xfe", "config.toml is not UTF-8: save it as UTF-8"),
]


@pytest.mark.parametrize(("content", "words"), PROFILES)
def test_a_wrong_profile_is_named(lone: Shell, tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "config" / "lume" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    file.chmod(0o600)
    done = lone.lume("list")

    assert (done.code, words in done.err) == (1, True), done.err


def test_a_folder_in_place_of_the_profiles_is_named(lone: Shell, tmp_path: Path) -> None:
    (tmp_path / "config" / "lume" / "config.toml").mkdir(parents=True)

    assert "config.toml can't be read: Is a directory\n" in lone.lume("list").err


@pytest.mark.parametrize("line", ["", "flow", "arrivals"])
def test_without_a_command_the_whole_help_is_shown(lone: Shell, line: str) -> None:
    done = lone.lume(*line.split())
    shown = lone.lume(*line.split(), "--help")

    assert (done.code, shown.code) == (2, 0)
    assert done.err.split() == shown.out.split()


def test_usage_has_the_form_of_all_errors(shell: Shell) -> None:
    usage = shell.lume("list", "--limit", "0").err.splitlines()

    assert usage[:2] == ["Usage: lume list [OPTIONS]", "Try 'lume list --help' for help."]
    assert re.match("error: Invalid value for '--limit'", usage[2])


def test_the_documented_codes_are_all_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    table = page.partition("## Exit codes")[2]
    documented = {int(code) for code in re.findall(r"^\| (\d+)", table, re.MULTILINE)}
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and type(value) is int}

    assert codes - documented == set()


OTHERWISE = {
    *(
        "run --seed",
        "backfill --from-file",
        "flow ddl flow",
        "flow contract flow",
        "clean files",
    ),  # read later, `-` or a reference: they are in `USES`
    *("table --to", "clean --to", "clean --rejects"),  # replaced as a whole
    *(
        "backfill --journal",
        "key new --keys",
        "flow init --output",
        "flow map --output",
        "flow show --to",
    ),  # made if missing
}


def test_every_file_that_a_command_reads_must_be_there() -> None:
    """A missing one is a usage error; a new option is either checked by click or named, with its use, above."""
    named = {
        f"{name} {one.opts[-1]}": isinstance(one.type, click.Path) and one.type.exists
        for name, command in _commands(app, "")
        for one in command.params
        if "FILE" in (one.metavar or "")
    }
    assert {name for name, is_checked in named.items() if not is_checked} == OTHERWISE
    assert len(named) > len(OTHERWISE) + 10


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for one in command.list_commands(context):
        found = command.get_command(context, one)
        assert found is not None
        yield from _commands(found, f"{name} {one}".strip())
