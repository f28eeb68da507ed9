"""Links that work once, and the sessions that they are traded for."""

import pytest

from lume_local._http.same_origin import is_own_host, is_same_origin
from lume_local._http.sessions import IDLE_LIMIT, Sessions

ME = "the digest of a key"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def cookie_of(header: str | None) -> str:
    assert header is not None
    value, *attributes = header.split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    return value


def test_a_token_works_once() -> None:
    sessions = Sessions("a")
    token = sessions.new_token(ME)
    cookie = cookie_of(sessions.begin(token))
    assert sessions.begin(token) is None
    assert sessions.begin("") is None
    assert sessions.owner(cookie) == ME
    assert sessions.owner(f"theme=dark; {cookie}") == ME
    assert sessions.owner(cookie[:-1]) is None
    assert token not in cookie


def test_servers_on_one_machine_know_their_own_cookies_only() -> None:
    one, other = Sessions("one"), Sessions("other")
    first, second = (cookie_of(each.begin(each.new_token(ME))) for each in (one, other))
    both = f"{first}; {second}"
    assert one.owner(both) == ME
    assert other.owner(both) == ME
    assert one.owner(second) is None


def test_a_session_ends_when_it_is_asked_to_or_rests_for_long() -> None:
    clock = Clock()
    sessions = Sessions("a", clock)
    cookie = cookie_of(sessions.begin(sessions.new_token(ME)))
    clock.now += IDLE_LIMIT
    assert sessions.owner(cookie) == ME
    clock.now += IDLE_LIMIT + 1
    assert sessions.owner(cookie) is None
    another = cookie_of(sessions.begin(sessions.new_token(ME)))
    assert "Max-Age=0" in sessions.end(another)
    assert sessions.owner(another) is None


def test_memory_is_bounded_and_the_oldest_gives_way() -> None:
    sessions = Sessions("a")
    tokens = [sessions.new_token(ME) for _ in range(101)]
    assert sessions.begin(tokens[0]) is None
    kept = cookie_of(sessions.begin(tokens[1]))
    for _ in range(99):
        sessions.begin(sessions.new_token(ME))
    assert sessions.owner(kept) == ME
    first = cookie_of(sessions.begin(sessions.new_token(ME)))
    for _ in range(99):
        assert sessions.owner(kept) == ME, "one that is in use is not the oldest"
        sessions.begin(sessions.new_token(ME))
    assert sessions.owner(kept) == ME
    assert sessions.owner("lume-a=") is None
    del first


def test_nobody_ends_the_sessions_or_links_of_others() -> None:
    sessions = Sessions("a")
    mine, token = cookie_of(sessions.begin(sessions.new_token(ME))), sessions.new_token(ME)
    for _ in range(150):
        sessions.begin(sessions.new_token("the digest of another key"))
        sessions.new_token("the digest of another key")
    assert sessions.owner(mine) == ME
    assert sessions.begin(token) is not None


@pytest.mark.parametrize("cookies", ["", "=", "lume-a", "lume-a=é; x", "a=b;;;", '"', "lume-a=" + "x" * 9000])
def test_odd_cookies_name_no_session(cookies: str) -> None:
    assert Sessions("a").owner(cookies) is None


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


HERE = {"Host": "127.0.0.1:8080"}
OWN, OTHER = {"Origin": "http://127.0.0.1:8080"}, {"Origin": "http://127.0.0.1:3000"}


@pytest.mark.parametrize(
    ("method", "headers", "is_same"),
    [
        ("POST", OWN, True),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, True),
        ("POST", {"Origin": "https://127.0.0.1:8080"}, True),  # TLS ends in front of the server
        ("POST", {}, False),
        ("POST", OTHER, False),
        ("POST", {"Origin": "null"}, False),
        ("POST", {**OWN, "Sec-Fetch-Site": "same-site"}, False),
        ("POST", {**OTHER, "Sec-Fetch-Site": "same-origin"}, False),
        ("POST", {"Sec-Fetch-Site": "none"}, False),
        ("PUT", {}, False),
        ("DELETE", {}, False),
        ("GET", {}, True),
        ("GET", {"Sec-Fetch-Site": "none"}, True),
        ("HEAD", {"Sec-Fetch-Site": "same-origin"}, True),
        ("GET", {"Sec-Fetch-Site": "same-site"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, False),
        ("GET", OTHER, False),
    ],
)
def test_origins(method: str, headers: dict[str, str], is_same: bool) -> None:
    assert is_same_origin(method, HERE | headers) is is_same
