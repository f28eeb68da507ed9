"""The rules in a file: what is accepted, and what is wrong where."""

from pathlib import Path

import pytest

from lume_local._flow.fields import FlowError
from lume_local._messages.rules import DEFAULT_RATE, Rate, RulesFile, read_rules

ONE = """
[[message]]
on = ["FAILED"]
to_env = ["SLACK_URL"]
"""
WHOLE = """
[[arrival]]
name = "acme-orders"
anything = 1

[[message]]
on = ["FAILED", "CRASHED", "PARTIAL_FAILED", "SUCCEEDED", "arrival.refused", "warn.unusual", "recovered"]
flows = ["orders*", "people:v2"]
rejected_above = 0.05
to_env = ["SLACK_URL", "OPS_MAIL_URL"]
at_most = "3 in 2h"
include_values = true
"""


def test_a_rule_with_everything() -> None:
    (rule,) = read_rules(WHOLE)
    assert (rule.rejected_above, rule.rate, rule.include_values) == (0.05, Rate(3, 7200), True)
    assert rule.to == ("SLACK_URL", "OPS_MAIL_URL")
    assert rule.troubles == ["FAILED", "CRASHED", "PARTIAL_FAILED", "arrival.refused"]
    about = [
        ("orders", "orders:v1"),
        ("orders_eu", "orders_eu:v9"),
        ("people", "people:v2"),
        ("people", "people:v1"),
    ]
    assert [rule.is_about(*one) for one in about] == [True, True, True, False]
    assert rule.is_about("people", "people"), "the newest version, which may be v2"
    assert not rule.is_about("notes", "notes")


def test_a_rule_with_nothing_but_whom_and_what() -> None:
    (rule,) = read_rules(ONE)
    assert (rule.flows, rule.rejected_above, rule.rate, rule.include_values) == (
        ("*",),
        0,
        DEFAULT_RATE,
        False,
    )
    assert read_rules("") == read_rules('[[arrival]]\nname = "a"') == ()
    recovery = read_rules(ONE.replace("FAILED", "recovered"))
    assert recovery[0].troubles == ("FAILED", "CRASHED")


def test_what_is_remembered_survives_a_change_of_what_is_not_about_whom_and_what() -> None:
    (rule,), (other,) = (
        read_rules(WHOLE),
        read_rules(WHOLE.replace("3 in 2h", "1 in 1d").replace("0.05", "0.5")),
    )
    (third,) = read_rules(WHOLE.replace("orders*", "orders"))
    assert rule.key == other.key != third.key


@pytest.mark.parametrize(
    ("text", "place", "problem", "line"),
    [
        ("a = 1", "a", "is not a known key", 1),
        ("[[mesage]]", "mesage", "did you mean 'message'?", 1),
        ("message = 1", "message", "must be a list of tables: write [[message]]", 1),
        ("[message]\non = 1", "message", "must be a list of tables: write [[message]]", 1),
        ("[[message]]\nto_env = ['A']", "message[0].on", "is missing", 1),
        ("[[message]]\non = ['FAILED']", "message[0].to_env", "is missing", 1),
        (ONE + "on_fail = 1", "message[0].on_fail", "is not a known key", 5),
        (ONE.replace("FAILED", "failed"), "message[0].on", "'failed' is not one of FAILED, CRASHED", 3),
        (ONE.replace("FAILED", "FAILD"), "message[0].on", "did you mean 'FAILED'?", 3),
        (ONE.replace('["FAILED"]', '"FAILED"'), "message[0].on", "must be a list of 1 to 20 strings", 3),
        (ONE.replace('["FAILED"]', "[]"), "message[0].on", "must be a list of 1 to 20 strings", 3),
        (ONE.replace('"FAILED"', '"FAILED", "FAILED"'), "message[0].on", "names something twice", 3),
        (ONE + "flows = [1]", "message[0].flows", "must be a list of 1 to 20 strings", 5),
        (ONE + "rejected_above = 0.1", "message[0].rejected_above", "is about PARTIAL_FAILED", 5),
        (WHOLE.replace("0.05", "5"), "message[0].rejected_above", "must be a share from 0 to below 1", 9),
        (WHOLE.replace("0.05", "nan"), "message[0].rejected_above", "must be a finite number", 9),
        (ONE + 'at_most = "one"', "message[0].at_most", "'one' must be as in \"1 in 10m\"", 5),
        (ONE + "at_most = 1", "message[0].at_most", "must be a string", 5),
        (ONE + 'at_most = "0 in 1h"', "message[0].at_most", "must be 1 to 100 messages in 1s to 31d", 5),
        (ONE + 'at_most = "1 in 0s"', "message[0].at_most", "must be 1 to 100 messages in 1s to 31d", 5),
        (ONE + 'at_most = "1 in 32d"', "message[0].at_most", "must be 1 to 100 messages in 1s to 31d", 5),
        (ONE + "include_values = 1", "message[0].include_values", "must be true or false", 5),
        (ONE + ONE, "message[1]", "has the same on, flows and to_env as message[0]", 6),
        (ONE * 2 + "x = 1", "message[1].x", "is not a known key", 9),
        ("[[message]\n", "", "is not TOML", 1),
        ("\n[[message]]\non = 'a", "", "is not TOML", None),
    ],
)
def test_mistakes(text: str, place: str, problem: str, line: int | None) -> None:
    with pytest.raises(FlowError) as caught:
        read_rules(text)
    assert caught.value.place == place
    assert problem in caught.value.problem
    assert caught.value.line == line


def test_every_mistake_is_reported() -> None:
    with pytest.raises(FlowError) as caught:
        read_rules(
            "[[message]]\non = ['X', 'Y']\nat_most = 'no'\nform = 1\nshape = 1\n"
            + ONE
            + "[[message]]\nto_env = ['a b']\nflows = 1\n"
        )
    assert [(one.place, one.line) for one in (caught.value, *caught.value.others)] == [
        ("message[0].to_env", 1),
        ("message[0].on", 2),
        ("message[0].on", 2),
        ("message[0].at_most", 3),
        ("message[0].form", 4),
        ("message[0].shape", 5),
        ("message[2].on", 10),
        ("message[2].to_env", 11),
        ("message[2].flows", 12),
    ]


@pytest.mark.parametrize(
    "address", ["slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl", "mailto://bob:passw0rd@example.com"]
)
def test_an_address_in_place_of_a_variable_is_not_repeated(address: str) -> None:
    with pytest.raises(FlowError, match="must have the names of environment variables") as caught:
        read_rules(ONE.replace("SLACK_URL", address))
    assert address not in str(caught.value)


def test_addresses_are_known_as_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "messages.toml"
    path.write_text(WHOLE)
    monkeypatch.setenv("SLACK_URL", "slack://a/b/c")
    monkeypatch.setenv("OPS_MAIL_URL", "mailto://x")
    rules = RulesFile(path)
    assert rules.secrets() == {"slack://a/b/c", "mailto://x"}
    assert "slack://" not in repr(rules.current())
    path.write_text(ONE)
    assert len(rules.current()) == 1
    assert rules.secrets() == {"slack://a/b/c"}
