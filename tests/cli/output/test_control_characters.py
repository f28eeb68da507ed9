"""Whatever users name, the command line can't be made to drive the terminal with it."""

import logging
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.shell import Done, Shell
from local.flows import PEOPLE

from lume_cli._output.log_lines import JsonLines, TextLines
from lume_cli._output.text import visible_lines
from lume_sync import Client

EVIL = "e\x1b]0;gone\x07\x1b[41m\x9b1A\u202e\rv"
"""Sets the title, changes the colour, moves up, turns the direction, goes back to the start of the line."""
SENT = ("\x1b]0;", "\x07", "\x1b[41m", "\x9b", "\u202e", "\rv")
CSV = f'id,Email,Age,"{EVIL}"\n1,a@b.org,5,x\n"{EVIL}",no,6,"{EVIL}"\n'
NAMING = (
    "run people:v1 @.csv --wait",
    "run @:v1 @.csv",
    "run people:v1 @.csv --metadata @",
    "run people:v1 here.csv --upload --seed @=@",
    "list",
    "list -o ndjson",
    "list --flow @",
    "list --status @",
    "list --source @",
    "show RUN",
    "show RUN -o json",
    "status RUN",
    "status @",
    "wait RUN",
    "watch RUN",
    "rejects RUN",
    "rejects RUN -o json",
    "rejects RUN --reason @",
    "resubmit RUN @.csv",
    "resubmit RUN here.csv",
    "rerun @",
    "cancel @",
    "inbox",
    "inbox @",
    "replay people --reason @",
    "replay @",
    "discard people --why @ --reason @",
    "backfill people:v1 @.csv",
    "backfill people:v1 @*.csv",
    "backfill people:v1 --from-file @",
    "arrivals list @",
    "arrivals check @",
    "arrivals check here.csv",
    "audit",
    "audit --by @",
    "backup @/no/folder --data @",
    "restore @ --data @",
    "serve --flows @",
    "serve --root @",
    "key new @ --role read",
    "flow init here.csv",
    "flow init @",
    "flow try FLOW here.csv",
    "flow try FLOW @",
    "flow check @",
    "flow check here.csv",
    "flow register @",
    "flow list @",
    "flow diff @ @",
    "flow ddl @ --for sqlite",
    "flow contract @",
    "flow model @",
    "flow map people:v1 here.csv",
    "flow map @ @",
    "message check @",
    "message check here.csv",
    "webhook verify --signature @ here.csv",
    "webhook verify --signature @ @",
    "-p @ list",
    "-v list --source @",
    "-v run @ @",
    "doctor --base-url http://@",
    "@",
    "--@",
    "list --@",
    "list --since @",
)


@pytest.fixture(scope="module")
def run_id(home: Path, client: Client) -> str:
    """A run with rejects whose source, columns, values and metadata have such names."""
    name = "turned\u202e.csv"  # control characters are refused in the path of a source
    (home / name).write_text(CSV)
    run = client.run("people:v1", name, run_metadata={"what": EVIL}).wait(20)
    assert run.status == "PARTIAL_FAILED"
    return run.id


@pytest.fixture
def words(run_id: str, tmp_path: Path) -> Callable[[str], list[str]]:
    """The words of a command line, with what stands for the run, a flow file, and the name."""
    (tmp_path / "here.csv").write_text(CSV)
    (tmp_path / "flow.toml").write_text(PEOPLE)

    def fill(line: str) -> list[str]:
        parts = {"RUN": run_id, "FLOW": "flow.toml"}
        return [parts.get(word, word).replace("@", EVIL) for word in line.split()]

    return fill


def sent(done: Done) -> list[str]:
    """What of the name could have driven the terminal."""
    return [text for text in SENT if text in done.out + done.err]


@pytest.mark.parametrize("line", ["run people:v1 @.csv --wait", "show RUN", "rejects RUN", "list -o ndjson"])
def test_a_pipe_gets_what_can_be_shown(shell: Shell, words: Callable[[str], list[str]], line: str) -> None:
    done = shell.lume(*words(line))

    assert sent(done) == [], f"{done.out!r} {done.err!r}"
    assert "Traceback" not in done.err or "-v" in line


@pytest.mark.parametrize(
    "line",
    [
        *(pytest.param(line, marks=[pytest.mark.thorough] * (n % 3 > 0)) for n, line in enumerate(NAMING)),
        *("list -o sources", "list -o ids", "rejects RUN -o csv"),
    ],
)
def test_a_terminal_is_not_driven(shell: Shell, words: Callable[[str], list[str]], line: str) -> None:
    done = shell.screen(*words(line), width=300)

    assert sent(done) == [], f"{done.out!r}"


@pytest.mark.parametrize(("line", "text"), [("list -o sources", "\u202e"), ("rejects RUN -o csv", "\x1b]0;")])
def test_data_for_a_file_or_another_command_is_as_it_is(
    shell: Shell, words: Callable[[str], list[str]], line: str, text: str
) -> None:
    assert text in shell.lume(*words(line)).out


def test_tabs_and_ends_of_lines_stay_in_csv() -> None:
    assert visible_lines("a\tb\r\n\x1bc\rd\n") == "a\tb\r\n\\x1bc\\rd\n"


@pytest.mark.parametrize("formatter", [TextLines("%(name)s: %(message)s"), JsonLines()])
def test_a_log_line_is_one_line_of_visible_characters(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(EVIL)
    except ValueError:
        record = logging.LogRecord("lume", logging.ERROR, "", 1, "%s", (f"{EVIL}\nb",), sys.exc_info())
    first, *others = formatter.format(record).split("\n")

    assert re.search(r"\\(x1b|u001b)\]0;gone.*\\nb", first)
    assert not [text for text in SENT if text in "\n".join([first, *others])]
    assert [line for line in others if "ValueError" in line] or isinstance(formatter, JsonLines)


def test_a_file_from_macos_with_columns_from_a_spreadsheet(
    shell: Shell, home: Path, tmp_path: Path, client: Client
) -> None:
    """Blanks that don't break are no control characters: from a sample to the rows, and shown as they are."""
    name = "Umsatz 10.15.42\u202fAM.csv"
    text = "Betrag\u00a0EUR,Ort\u3000\u202e\n1,Köln\n2,Bonn\n"
    for folder in (home, tmp_path):
        (folder / name).write_text(text)
    assert shell.lume("flow", "init", name, "-o", "flow.toml").code == 0
    flow = (tmp_path / "flow.toml").read_text()
    ref = f"{tomllib.loads(flow)['flow']}:v1"
    (tmp_path / "flow.toml").write_text(flow.replace("[columns.betrag_eur]", '[columns."Betrag\u00a0€"]'))
    for command in ("check", "register"):
        done = shell.lume("flow", command, "flow.toml")
        assert done.code == 0, done.err
    for more in ([], ["--upload", "--force-rerun"]):
        done = shell.screen("run", ref, name, *more, "--wait", width=300)
        assert (done.code, "2 mapped" in done.out) == (0, True), done.out
    assert name in shell.screen("list", "--flow", ref, width=300).out
    run = client.run(ref, name, on_duplicate="attach").wait(20)
    assert [row["Betrag\u00a0€"] for row in run.mapped()] == [1, 2]
