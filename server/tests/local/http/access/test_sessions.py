"""Links that work once, and the sessions that they are traded for."""

import pytest

from lume_local._http.console import IDLE_LIMIT, LINK_LIMIT, Owner, Sessions, is_own_host

ME = Owner("the digest of a key")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def session_of(sessions: Sessions, token: str | None = None) -> str:
    secret = sessions.begin(sessions.new_token(ME) if token is None else token)
    assert secret is not None
    return secret


def test_a_token_works_once() -> None:
    sessions = Sessions()
    token = sessions.new_token(ME)
    session = session_of(sessions, token)
    assert sessions.begin(token) is None
    assert sessions.begin("") is None
    assert sessions.owner(session) == ME
    assert sessions.owner(session[:-1]) is None
    assert sessions.owner(token) is None


def test_a_link_ends_after_10_minutes() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    early, late = sessions.new_token(ME), sessions.new_token(ME)
    clock.now += LINK_LIMIT
    session = session_of(sessions, early)
    clock.now += 1
    assert sessions.begin(late) is None
    assert sessions.owner(session) == ME, "what it has opened lasts"
    assert LINK_LIMIT == 600


def test_a_session_ends_when_it_is_asked_to_or_rests_for_long() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    session = session_of(sessions)
    clock.now += IDLE_LIMIT
    assert sessions.owner(session) == ME
    clock.now += IDLE_LIMIT + 1
    assert sessions.owner(session) is None
    another = session_of(sessions)
    sessions.end(another)
    assert sessions.owner(another) is None


@pytest.mark.parametrize("rests", [False, True])
def test_what_a_session_has_made_ends_with_it(rests: bool) -> None:
    """Else somebody who had it for a moment would keep what it opens."""
    clock = Clock()
    sessions = Sessions(clock)
    first, other = session_of(sessions), session_of(sessions)
    second = session_of(sessions, sessions.new_token(ME, first))
    third = session_of(sessions, sessions.new_token(ME, second))
    links = [sessions.new_token(ME, maker) for maker in (first, second, third)]
    assert [sessions.owner(each) for each in (second, third)] == [ME, ME]
    if rests:
        for _ in range(2):
            clock.now += IDLE_LIMIT / 2 + 1
            for each in (second, third, other):
                sessions.owner(each)
    else:
        sessions.end(first)
    assert [sessions.owner(each) for each in (second, third)] == [None, None]
    assert [sessions.begin(link) for link in links] == [None] * 3
    assert sessions.owner(other) == ME


def test_a_session_outlives_those_that_it_has_made() -> None:
    sessions = Sessions()
    first = session_of(sessions)
    second = session_of(sessions, sessions.new_token(ME, first))
    sessions.end(second)
    assert sessions.owner(first) == ME


def test_memory_is_bounded_and_the_oldest_gives_way() -> None:
    sessions = Sessions()
    tokens = [sessions.new_token(ME) for _ in range(101)]
    assert sessions.begin(tokens[0]) is None
    kept = session_of(sessions, tokens[1])
    for _ in range(99):
        session_of(sessions)
    assert sessions.owner(kept) == ME
    for _ in range(100):
        assert sessions.owner(kept) == ME, "one that is in use is not the oldest"
        session_of(sessions)
    assert sessions.owner(kept) == ME


@pytest.mark.parametrize(
    ("me", "other"),
    [
        (ME, Owner("the digest of another key")),
        (Owner("entry staff", "staff:ann"), Owner("entry staff", "staff:bob")),
    ],
)
def test_nobody_ends_the_sessions_or_links_of_others(me: Owner, other: Owner) -> None:
    sessions = Sessions()
    mine, token = session_of(sessions, sessions.new_token(me)), sessions.new_token(me)
    for _ in range(150):
        sessions.begin(sessions.new_token(other))
        sessions.new_token(other)
    assert sessions.owner(mine) == me
    assert sessions.begin(token) is not None


@pytest.mark.parametrize("secret", ["", "é", "\udce9", "x" * 9000])
def test_odd_secrets_name_no_session(secret: str) -> None:
    sessions = Sessions()
    assert (sessions.owner(secret), sessions.begin(secret), sessions.end(secret)) == (None, None, None)


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1:8080", True),
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("[::1]:8080", True),
        ("192.168.1.7:8080", True),
        ("lume.internal:8080", True),
        ("", False),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("lume.internal.evil.example", False),
        ("evil.example@127.0.0.1x", False),
        ("[::1", False),
        ("127.0.0.1:x", False),
    ],
)
def test_hosts(host: str, is_own: bool) -> None:
    assert is_own_host(host, {"lume.internal"}) is is_own
