"""Settings: an argument beats the environment, the environment beats a default; nothing wrong gets through."""

import json
import os
import ssl
import sys
import textwrap
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import lume_async
import lume_sync
from lume_async._base.version import __version__
from lume_async._http.settings import MEBIBYTE, Settings, settings, valid_key
from lume_async.errors import ConfigurationError

CANARY = "canary-2718-key"
URL = "https://lume.example.com"
OWN_AGENT = f"lume-client/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.lower, PROXIES), "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)


def chosen(environment: dict[str, str] | None = None, **arguments: Any) -> Settings:
    complete = {
        "base_url": None,
        "request_timeout": None,
        "max_connections": 100,
        "max_response_bytes": 32 * MEBIBYTE,
        "proxy": None,
        "ssl": None,
        "user_agent": None,
    } | arguments
    with pytest.MonkeyPatch.context() as patch:
        for name in FULL:
            patch.delenv(name, raising=False)
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        return settings(complete.pop("api_key", None), **complete)


FULL = {"LUME_API_KEY": "env-key", "LUME_BASE_URL": "http://env.test", "LUME_REQUEST_TIMEOUT": "7.5"}


@pytest.mark.parametrize(
    ("environment", "arguments", "name", "value"),
    [
        (FULL, {}, "api_key", "env-key"),
        (FULL, {"api_key": "arg-key"}, "api_key", "arg-key"),
        (FULL, {"api_key": "key\r\n"}, "api_key", "key"),
        (FULL | {"LUME_API_KEY": "key\n"}, {}, "api_key", "key"),
        (FULL, {}, "base_url", "http://env.test"),
        (FULL, {"base_url": URL}, "base_url", URL),
        (FULL | {"LUME_BASE_URL": "http://env.test/\n"}, {}, "base_url", "http://env.test"),
        (FULL, {"base_url": f"{URL}/"}, "base_url", URL),
        (FULL, {"base_url": f"{URL}/lume/api//"}, "base_url", f"{URL}/lume/api"),
        (FULL, {"base_url": "http://127.0.0.1:8080"}, "base_url", "http://127.0.0.1:8080"),
        (FULL, {"base_url": "http://[::1]:8080"}, "base_url", "http://[::1]:8080"),
        (FULL, {}, "request_timeout", 7.5),
        (FULL, {"request_timeout": 3}, "request_timeout", 3.0),
        (FULL, {"request_timeout": timedelta(seconds=2)}, "request_timeout", 2.0),
        (FULL | {"LUME_REQUEST_TIMEOUT": ""}, {}, "request_timeout", 60.0),
        (FULL, {}, "max_connections", 100),
        (FULL, {"max_connections": 1}, "max_connections", 1),
        (FULL, {}, "max_response_bytes", 32 * 1024 * 1024),
        (FULL, {}, "proxy", None),
        (FULL, {"proxy": False}, "proxy", None),
        (FULL, {"proxy": "http://u:p@proxy.test:3128"}, "proxy", "http://u:p@proxy.test:3128"),
        (FULL, {}, "user_agent", OWN_AGENT),
        (FULL, {"user_agent": "etl/2 (nightly)"}, "user_agent", f"etl/2 (nightly) {OWN_AGENT}"),
    ],
)
def test_where_a_setting_comes_from(
    environment: dict[str, str], arguments: dict[str, Any], name: str, value: object
) -> None:
    assert getattr(chosen(environment, **arguments), name) == value


def test_the_default_timeout_is_a_minute() -> None:
    assert chosen({}, api_key="k", base_url=URL).request_timeout == 60


def test_a_function_may_give_the_key() -> None:
    def give() -> str:
        return "k"

    assert chosen({}, api_key=give, base_url=URL).api_key is give


@pytest.fixture(autouse=True)
def no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_url_the_file_of_a_server_is_named_but_not_used(tmp_path: Path) -> None:
    file = tmp_path / ".lume" / "state" / "server.json"
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"base_url": "{URL}", "api_key": "{CANARY}"}}')
    with pytest.raises(ConfigurationError) as refused:
        chosen({})
    said = str(refused.value)
    assert (
        f"`lume serve` wrote base_url and api_key of its server to {file}: export them as LUME_BASE_URL"
        in said
    )
    assert CANARY not in said
    lines = textwrap.dedent(said.partition("or pass both:\n")[2])
    found: dict[str, Any] = {"json": json, "Path": Path, "Client": lambda key, base_url: (key, base_url)}
    exec(lines, found)
    assert found["client"] == (CANARY, URL)


@pytest.mark.parametrize(
    ("environment", "arguments", "said"),
    [
        ({}, {"base_url": URL}, ["api_key", "LUME_API_KEY"]),
        ({}, {"api_key": CANARY}, ["base_url", "LUME_BASE_URL", "lume_local.serve()"]),
        ({"LUME_API_KEY": ""}, {"base_url": URL}, ["LUME_API_KEY is empty"]),
        ({"LUME_API_KEY": " \n"}, {"base_url": URL}, ["LUME_API_KEY is empty"]),
        ({"LUME_BASE_URL": ""}, {"api_key": CANARY}, ["base_url", "LUME_BASE_URL"]),
        ({"LUME_BASE_URL": "lume.test"}, {"api_key": CANARY}, ["LUME_BASE_URL must look like"]),
        (FULL, {"api_key": ""}, ["api_key is empty"]),
        (FULL, {"api_key": f"{CANARY}\x00"}, ["api_key is not a valid API key"]),
        (FULL, {"api_key": f"{CANARY}\r\nx: y"}, ["api_key is not a valid API key"]),
        (FULL, {"api_key": f"{CANARY}ü"}, ["api_key is not a valid API key"]),
        (FULL, {"api_key": CANARY * 1_000}, ["api_key is not a valid API key"]),
        (FULL, {"api_key": CANARY.encode()}, ["api_key must be a string, not bytes"]),
        (FULL, {"api_key": 5}, ["api_key must be a string, not int"]),
        (FULL | {"LUME_API_KEY": f"{CANARY}\x07"}, {}, ["LUME_API_KEY is not a valid API key"]),
        (FULL, {"base_url": "lume.example.com"}, ["base_url must look like"]),
        (FULL, {"base_url": "ftp://x"}, ["base_url must look like"]),
        (FULL, {"base_url": "https://"}, ["base_url must look like"]),
        (FULL, {"base_url": "https:///path"}, ["base_url must look like"]),
        (FULL, {"base_url": " "}, ["base_url must look like"]),
        (FULL, {"base_url": 5}, ["base_url must look like"]),
        (FULL, {"base_url": b"http://x"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://[::1"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://x:99999"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://x:port"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://x/a b"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://x\r\n.evil"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://größe.test"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://a..b"}, ["base_url must look like"]),
        (FULL, {"base_url": f"http://{'a' * 64}.test"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://127.1:8080"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://1.2.3.4.5"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://xn--a"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://xn--"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://a\\b"}, ["base_url must look like"]),
        (FULL, {"base_url": "http://\\b:80/x"}, ["base_url must look like"]),
        (FULL | {"LUME_BASE_URL": f"http://user:{CANARY}@x"}, {}, ["must not contain a user name"]),
        (FULL, {"base_url": f"http://user:{CANARY}@x"}, ["must not contain a user name"]),
        (FULL, {"base_url": "http://@x"}, ["must not contain a user name"]),
        (FULL, {"base_url": f"http://x?key={CANARY}"}, ["must not contain a user name"]),
        (FULL, {"base_url": "http://x?"}, ["must not contain a user name"]),
        (FULL, {"base_url": "http://x#"}, ["must not contain a user name"]),
        (FULL, {"request_timeout": 0}, ["request_timeout must be"]),
        (FULL, {"request_timeout": float("inf")}, ["request_timeout must be"]),
        (FULL | {"LUME_REQUEST_TIMEOUT": "soon"}, {}, ["LUME_REQUEST_TIMEOUT must be"]),
        (FULL | {"LUME_REQUEST_TIMEOUT": "-5"}, {}, ["LUME_REQUEST_TIMEOUT must be"]),
        (FULL | {"LUME_REQUEST_TIMEOUT": "nan"}, {}, ["LUME_REQUEST_TIMEOUT must be"]),
        (FULL, {"max_connections": 0}, ["max_connections must be"]),
        (FULL, {"max_connections": True}, ["max_connections must be"]),
        (FULL, {"max_connections": 2.5}, ["max_connections must be"]),
        (FULL, {"max_response_bytes": 0}, ["max_response_bytes must be"]),
        (FULL, {"proxy": "proxy.test:3128"}, ["proxy", "must look like"]),
        (FULL, {"proxy": "quic://x:1"}, ["proxy", "must look like"]),
        (FULL, {"proxy": f"http://u:{CANARY}@:1"}, ["proxy", "must look like"]),
        (FULL, {"proxy": "http://x:99999"}, ["proxy", "must look like"]),
        (FULL, {"proxy": f"http://u:{CANARY}@a\\b:1"}, ["proxy", "must look like"]),
        (FULL, {"proxy": f"http://u:{CANARY}@a..b:1"}, ["proxy", "must look like"]),
        (FULL, {"proxy": CANARY.encode()}, ["proxy", "must look like"]),
        (FULL, {"proxy": True}, ["proxy", "must look like"]),
        (FULL, {"ssl": "/nowhere/ca.pem"}, ["no CA file at '/nowhere/ca.pem'"]),
        (FULL, {"ssl": False}, ["ssl must be an SSLContext"]),
        (FULL, {"user_agent": ""}, ["user_agent must be"]),
        (FULL, {"user_agent": "a\nb"}, ["user_agent must be"]),
        (FULL, {"user_agent": "ü"}, ["user_agent must be"]),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_never_repeats_a_key(
    environment: dict[str, str], arguments: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        chosen(environment, **arguments)

    for words in said:
        assert words in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ({}, {"api_key": CANARY.encode()}),
        ({}, {"api_key": [CANARY]}),
        ({}, {"api_key": f"{CANARY}\x00"}),
        ({}, {"base_url": f"http://user:{CANARY}@x"}),
        ({}, {"base_url": f"http://x?key={CANARY}"}),
        ({}, {"base_url": CANARY.encode()}),
        ({}, {"proxy": f"http://u:{CANARY}@a..b:1"}),
        ({}, {"proxy": {"https": f"http://u:{CANARY}@p:1"}}),
        ({"LUME_BASE_URL": f"http://user:{CANARY}@x"}, {"base_url": None}),
        ({"LUME_API_KEY": f"{CANARY}\x07"}, {"api_key": None}),
        ({"ALL_PROXY": f"quic://u:{CANARY}@p:1"}, {}),
    ],
)
@pytest.mark.parametrize("package", [lume_async, lume_sync])
def test_nothing_that_is_refused_is_shown_by_a_traceback_with_locals(
    monkeypatch: pytest.MonkeyPatch, package: Any, variables: dict[str, str], arguments: dict[str, Any]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for act in (package.Client, package.init):
        with pytest.raises(ConfigurationError) as caught:
            act(**{"api_key": "k", "base_url": URL, **arguments})
        frames = traceback.walk_tb(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
        shown = "".join(traceback.StackSummary.extract(frames, capture_locals=True).format())
        assert "settings.py" in shown
        assert CANARY not in shown


@pytest.mark.parametrize(
    ("variables", "base_url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://x", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https://x", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://x", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://x", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://x", "http://p:1"),
        ({"HTTPS_PROXY": "p.corp:3128"}, "https://x", "http://p.corp:3128"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x"}, "https://x", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://x", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example.com"}, "https://lume.example.com", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x:8443"}, "https://x:8443", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other"}, "https://x", "http://p:1"),
        ({"HTTPS_PROXY": ""}, "https://x", None),
    ],
)
def test_the_environments_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], base_url: str, proxy: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert chosen(FULL, base_url=base_url).proxy == proxy


def test_a_proxy_that_can_not_be_used_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "quic://p:1")

    with pytest.raises(ConfigurationError, match="ALL_PROXY"):
        chosen(FULL, base_url=URL)


def test_a_context_and_a_ca_file_are_taken_as_they_are(tmp_path: Path) -> None:
    context, file = ssl.create_default_context(), tmp_path / "ca.pem"
    file.touch()

    assert chosen(FULL, ssl=context).ssl is context
    assert chosen(FULL, ssl=file).ssl is file
    assert chosen(FULL, ssl=os.fspath(file)).ssl == os.fspath(file)


def test_neither_key_nor_proxy_is_shown() -> None:
    text = repr(chosen(FULL, api_key=CANARY, proxy=f"http://u:{CANARY}@p:1"))

    assert CANARY not in text
    assert "http://env.test" in text


def test_a_valid_key_is_a_secret() -> None:
    assert CANARY not in repr(valid_key(CANARY, "api_key"))
    assert valid_key(CANARY, "api_key") == CANARY
