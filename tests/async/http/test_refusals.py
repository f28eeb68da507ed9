"""What refusals say, as tables: which shares are alarming, and what a trial of a lower rate shows."""

import pytest

from lume_async._http.throttle import (
    ENOUGH,
    FEW,
    LONG,
    MOST_AT_RANDOM,
    ROW,
    SOME,
    RateTrial,
    Verdict,
    Window,
    long_row,
)


def window(answers: int, share: float) -> Window:
    return Window(0.0, answers, round(answers * share))


@pytest.mark.parametrize(
    ("answers", "share", "expected", "limited", "alarming"),
    [
        (29, 0.5, 0.0, False, False),  # too few answers
        (100, 0.09, 0.0, False, False),  # too few refusals
        (100, 0.2, 0.0, False, True),
        (100, 0.2, 0.2, False, False),  # as many as usual
        (100, 0.3, 0.2, False, False),  # by chance, maybe
        (100, 0.4, 0.2, False, True),
        (20, 0.1, 0.0, True, False),
        (10, 0.3, 0.0, True, True),  # a limited rate needs less evidence
        (10, 0.3, 0.2, True, False),
    ],
)
def test_what_is_alarming(answers: int, share: float, expected: float, limited: bool, alarming: bool) -> None:
    assert window(answers, share).is_alarming(expected, limited=limited) is alarming
    assert FEW < SOME < ENOUGH


L, W, R = Verdict.LIMIT, Verdict.LOWER, Verdict.RANDOM


@pytest.mark.parametrize(
    ("before", "after", "known", "verdict"),
    [
        (0.5, 0.0, True, L),
        (0.5, 0.04, True, L),
        (0.5, 0.0, False, L),  # fewer is an answer whatever it is compared with
        (0.9, 0.3, True, W),  # a limit, and still too fast
        (0.9, 0.3, False, W),
        (0.2, 0.2, True, R),
        (0.4, 0.4, True, R),
        (0.4, 0.4, False, W),  # a few answers of a burst say nothing of what chance refuses
        (0.5, 0.9, True, W),  # more than before: that is no chance, and no answer either
        (0.5, 0.9, False, W),
        (0.98, 0.96, True, W),  # that much is never refused by chance
        (0.98, 0.96, False, W),
        (0.84, 0.84, True, W),
    ],
)
def test_what_a_trial_shows(before: float, after: float, known: bool, verdict: Verdict) -> None:
    trial = RateTrial.after(window(400, before), 1.0 if known else 0.1, 0.0, undo=None)

    assert trial.verdict(window(400, after), 0.0, now=2.0) is verdict


@pytest.mark.parametrize("before", [n / 20 for n in range(1, 20)])
@pytest.mark.parametrize("after", [n / 20 for n in range(1, 20)])
def test_only_shares_that_are_alike_and_small_are_taken_for_chance(before: float, after: float) -> None:
    trial = RateTrial.after(window(400, before), 1.0, 0.0, undo=None)

    if trial.verdict(window(400, after), 0.0, now=2.0) is Verdict.RANDOM:
        assert abs(after - before) < 0.11
        assert (before + after) / 2 <= MOST_AT_RANDOM + 0.001


def test_a_trial_takes_as_many_answers_as_tell_chance_from_a_limit() -> None:
    few, many = (RateTrial.after(window(400, share), 1.0, 0.0, None).enough for share in (0.5, 0.1))

    assert few == ENOUGH
    assert many > 100


@pytest.mark.parametrize(
    ("answers", "share", "now", "judged"),
    [
        (ENOUGH - 1, 0.3, 1.0, False),
        (ENOUGH, 0.3, 1.0, True),
        (SOME, 0.3, LONG + 0.1, True),  # it takes too long
        (SOME - 1, 0.3, LONG + 0.1, False),
        (SOME + 2, 0.0, 1.0, True),  # so few are refused that no more are needed
        (100, 1.0, 1.0, False),  # nothing is taken: that is for the row to tell
    ],
)
def test_when_a_trial_is_over(answers: int, share: float, now: float, judged: bool) -> None:
    trial = RateTrial.after(window(400, 0.5), 1.0, 0.0, None)

    assert (trial.verdict(window(answers, share), 0.0, now) is not None) is judged


@pytest.mark.parametrize(
    ("length", "answers", "known"),
    [
        (0.1, 400, False),  # a burst
        (0.3, 400, True),
        (3.0, ENOUGH - 1, False),
        (LONG, 5, True),
    ],
)
def test_whose_share_is_known(length: float, answers: int, known: bool) -> None:
    assert window(answers, 0.2).is_known(length) is known


def test_where_many_are_refused_at_random_a_row_has_to_be_longer() -> None:
    assert long_row(0.0) == ROW
    assert long_row(0.2) == ROW
    assert 15 < long_row(0.4) < 16
