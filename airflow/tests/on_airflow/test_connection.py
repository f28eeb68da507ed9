"""Connections of type `lume`, and what the form and the hook make of them."""

import json
import subprocess
import sys
import traceback

import jsonschema
import pytest
from on_airflow.support import use

import lume_async
from lume_airflow._compat import BaseHook
from lume_airflow._connection import ConnectionSettings
from lume_airflow.hooks import LumeHook
from lume_airflow.provider_info import _FIELDS, get_provider_info

ODD_HOSTS = ("http://h:abc", "http://h:99999", "::1", "ftp://h", "http://u:p4ssw0rd@h", "http://h?a=b")
_ODD = {"host": "http://h:abc", "password": "the-api-key", "port": 2}


def settings(monkeypatch: pytest.MonkeyPatch, **told: object) -> ConnectionSettings:
    monkeypatch.setenv(
        "AIRFLOW_CONN_LUME_DEFAULT", json.dumps({"conn_type": "lume", "password": "k", **told})
    )
    return LumeHook().settings()


@pytest.mark.parametrize(
    ("told", "base_url"),
    [
        ({"host": "https://lume.example.com"}, "https://lume.example.com"),
        ({"host": "http://127.0.0.1:8000"}, "http://127.0.0.1:8000"),
        ({"host": "lume.example.com"}, "https://lume.example.com"),
        ({"host": "lume.example.com", "port": 8443}, "https://lume.example.com:8443"),
        ({"host": "127.0.0.1", "port": 8000, "schema": "http"}, "http://127.0.0.1:8000"),
        ({"host": "https://lume.example.com/behind", "port": 8443}, "https://lume.example.com:8443/behind"),
    ],
)
def test_the_host_is_the_base_url(monkeypatch, told, base_url) -> None:
    assert settings(monkeypatch, **told).base_url == base_url


def test_a_uri_will_do(monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUME_DEFAULT", "lume://:a%2Fkey@lume.example.com:8443/https")
    found = LumeHook().settings()
    assert (found.base_url, found.api_key) == ("https://lume.example.com:8443", "a/key")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"host": ""}, "no host"),
        ({"host": "http://x", "password": ""}, "no password"),
        *(({"host": host, "port": 443}, "host that is not a valid base URL") for host in ODD_HOSTS),
        *(
            ({"host": "http://x", "extra": extra}, "not a JSON object")
            for extra in ("[1]", "5", '"x"', "{broken")
        ),
        ({"host": "http://x", "extra": {"request_timeout": "soon"}}, "'request_timeout'.* number of seconds"),
        ({"host": "http://x", "extra": {"request_timeout": -3}}, "'request_timeout'.* above 0"),
        ({"host": "http://x", "extra": '{"request_timeout": NaN}'}, "'request_timeout'.* above 0"),
        ({"host": "http://x", "extra": {"max_connections": True}}, "'max_connections'.* whole number"),
        ({"host": "http://x", "extra": {"max_connections": "2.5"}}, "'max_connections'.* whole number"),
        ({"host": "http://x", "extra": {"console_url": "javascript:alert(1)//"}}, "'console_url'.* https://"),
        ({"host": "http://x", "extra": {"proxy": {"https": "http://u:p4ssw0rd@p:1"}}}, "'proxy'.* a string"),
        (
            {"host": "http://x", "extra": {"requst_timeout": 3}},
            "'requst_timeout'; known are .*request_timeout",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named_without_a_secret(monkeypatch, told, said) -> None:
    """Neither the message nor a local of our frames holds the key or a password."""
    with pytest.raises(lume_async.ConfigurationError, match=said) as raised:
        settings(monkeypatch, **{"password": "the-api-key", **told})
    shown = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    ours = shown.partition("hooks.py")[2]  # the test's own frames hold what it has given
    assert ours
    assert not {secret for secret in ("the-api-key", "p4ssw0rd") if secret in ours}


def test_the_form_says_what_is_wrong(monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUME_DEFAULT", json.dumps({"conn_type": "lume", **_ODD}))
    good, said = LumeHook().test_connection()
    assert not good
    assert "base URL" in said


def test_in_a_uri_numbers_are_strings(monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LUME_DEFAULT", "lume://:key@host/?request_timeout=5&max_connections=7")
    found = LumeHook().settings()
    assert (found.request_timeout, found.max_connections) == (5, 7)


def test_every_extra_of_the_form_is_read(monkeypatch) -> None:
    examples = {"string": "https://x", "number": 2.5, "integer": 7}
    extra = {name: examples[kind] for name, (_label, kind, _text) in _FIELDS.items()}
    found = settings(monkeypatch, host="http://x", extra=extra)
    assert {name: getattr(found, name) for name in extra} == extra


def test_the_key_is_not_shown(monkeypatch) -> None:
    assert "secret-key" not in repr(settings(monkeypatch, host="http://x", password="secret-key"))


def test_clients_of_the_hook_work(connection) -> None:
    with LumeHook().get_client() as client:
        assert [flow.flow_version for flow in client.list_flows()]


async def test_and_the_asynchronous_one(connection) -> None:
    async with await LumeHook().get_async_client() as client:
        assert [flow.flow_version async for flow in client.list_flows()]


def test_a_connection_is_tested(connection) -> None:
    good, said = LumeHook().test_connection()
    assert good, said
    assert connection.base_url in said


def test_a_wrong_key_is_said(connection, monkeypatch) -> None:
    use(monkeypatch, connection.base_url, "wrong")
    good, said = LumeHook().test_connection()
    assert not good
    assert "wrong" not in said


def test_a_server_that_is_away_is_said(monkeypatch) -> None:
    use(monkeypatch, "http://127.0.0.1:9", "key")
    monkeypatch.setattr("lume_airflow.hooks.ConnectionSettings.client_options", _impatient)
    good, _said = LumeHook().test_connection()
    assert not good


def _impatient(self: ConnectionSettings) -> dict[str, object]:
    return {"api_key": self.api_key, "base_url": self.base_url, "retry": lume_async.Retry(attempts=1)}


def test_the_metadata_is_what_airflow_expects() -> None:
    from importlib.resources import files

    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_metadata_is_read_without_airflow() -> None:
    program = (
        "import sys, lume_airflow.provider_info as p; p.get_provider_info();"
        "print(sorted({'airflow', 'lume_async', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_airflow_finds_the_provider() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-lume" in manager.providers
    assert manager.hooks["lume"].hook_class_name == "lume_airflow.hooks.LumeHook"
    assert issubclass(LumeHook, BaseHook)
