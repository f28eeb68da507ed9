"""Databases that can not be used, and what is said of each."""

from urllib.parse import urlsplit

import postgres_server
import psycopg
import pytest
from local import stores

from lume_local._runs.postgres import postgres_state
from lume_local._runs.store.records import StoreError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scheme": "mysql"}, "it is not a URL such as"),
        ({"netloc": "lume:a%zz@127.0.0.1"}, "it is not a valid PostgreSQL URL"),
        ({"path": "/nowhere"}, "it has no such database"),
        ({"netloc": "lume:wr0ng@{}"}, "it refuses user or password"),
        ({"netloc": "lume:wr0ng@no.such.invalid"}, "it can't be reached: the name of its host is not known"),
        ({"netloc": "lume:wr0ng@127.0.0.1:1"}, "it can't be reached: nothing listens at its host and port"),
        ({"query": "sslmode=require"}, "it can't be reached: TLS fails, or is not what both sides want"),
    ],
)
async def test_what_is_said_of_a_wrong_url(
    postgres: postgres_server.Server, change: dict[str, str], words: str
) -> None:
    parts = urlsplit(postgres.url)
    given = {name: value.format(f"127.0.0.1:{postgres.port}") for name, value in change.items()}
    with pytest.raises(StoreError, match=words) as caught:
        async with stores.at(parts._replace(**given).geturl()):
            pass
    assert "wr0ng" not in str(caught.value)
    assert postgres_server.USER not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            'no pg_hba.conf entry for host "10.0.0.1", user "few", database "few", no encryption',
            "its pg_hba.conf",
        ),
        ("the database system is starting up", "it is starting or stopping"),
        ("connection timeout expired", "it can't be reached: its host does not answer"),
        ("something else about few", "it can't be reached$"),
    ],
)
async def test_what_is_said_of_other_failures_to_connect(
    monkeypatch: pytest.MonkeyPatch, said: str, words: str
) -> None:
    async def connect(url: str) -> None:
        raise psycopg.OperationalError(f'connection to server at "10.0.0.1" failed: FATAL:  {said}')

    monkeypatch.setattr(postgres_state, "connect", connect)
    with pytest.raises(StoreError, match=words) as caught:
        async with stores.at("postgresql://few@10.0.0.1/few"):
            pass
    assert "few" not in str(caught.value)


async def test_a_database_in_another_encoding_is_refused(postgres: postgres_server.Server) -> None:
    encoding = "SQL_ASCII"
    postgres.execute_outside(f"CREATE DATABASE other TEMPLATE template0 ENCODING '{encoding}'")
    try:
        with pytest.raises(StoreError, match=f"in the encoding UTF8, this one has {encoding}$"):
            async with stores.at(urlsplit(postgres.url)._replace(path="/other").geturl()):
                pass
    finally:
        postgres.execute_outside("DROP DATABASE other WITH (FORCE)")


async def test_a_user_without_a_connection_left(postgres: postgres_server.Server) -> None:
    postgres.execute("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 0")
    with pytest.raises(StoreError, match="it has no connection left, for anybody or for this user"):
        async with stores.at(f"postgresql://few:few@127.0.0.1:{postgres.port}/postgres"):
            pass
    postgres.execute("DROP ROLE few")
