"""Short ids: what is shown is accepted, and two runs never look alike."""

import pytest

from lume_cli._output.text import may_be_short, short, shorts, stands_for

WHOLE = "run_2f91d0ab55e84c6da5c0a9f9a1ce77e2"


@pytest.mark.parametrize(
    ("run_id", "shown"),
    [
        (WHOLE, "2f91d0ab"),
        ("01HYABCDEFGHJKMNPQRSTVWXYZ", "01HYABCD"),
        ("run_1", "run_1"),
        ("run_12345678", "run_12345678"),
        ("a-run-with-a-name", "a-run-with-a-name"),
    ],
)
def test_what_is_shown(run_id: str, shown: str) -> None:
    assert short(run_id) == shown
    assert stands_for(shown, run_id)


def test_two_runs_never_look_alike() -> None:
    ids = ["run_2f91d0ab1111111111111111", "run_2f91d0ab1222222222222222", "run_aaaaaaaaaaaaaaaaaaaaaaaa"]
    assert list(shorts(ids).values()) == ["2f91d0ab11", "2f91d0ab12", "aaaaaaaa"]
    alike = ["a_2f91d0ab1111", "b_2f91d0ab1111"]
    assert list(shorts(alike).values()) == alike
    assert all(stands_for(shown, run_id) for run_id, shown in shorts(ids + alike).items())


@pytest.mark.parametrize("text", ["2f91d0ab", "run_2f91d0ab", "2f91d0ab55e8", "a1ce77e2", WHOLE])
def test_what_stands_for_a_run(text: str) -> None:
    assert stands_for(text, WHOLE)


@pytest.mark.parametrize("text", ["2f91d0a", "d0ab55e84c", "2f91d0aa", "", "run_"])
def test_what_does_not(text: str) -> None:
    assert not stands_for(text, WHOLE)


@pytest.mark.parametrize(("text", "may_be"), [("2f91d0ab", True), ("run_1", False), (WHOLE, False)])
def test_only_short_ones_are_looked_for(text: str, may_be: bool) -> None:
    assert may_be_short(text) is may_be
