"""Proxies of the environment are used, NO_PROXY and proxy=False are obeyed, .netrc is not read."""

from base64 import b64encode
from pathlib import Path

import pytest
from components import package
from faults.proxy import Proxy
from faults.support import FLOW, KEY, SOURCE, client_for, leaping_client, run_reply
from loopback import Loopback, forever

from lume_async import ApiConnectionError, SubmissionUnknownError

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_the_proxy_of_the_environment_is_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Proxy() as proxy, Loopback([forever(run_reply())]) as server:
        monkeypatch.setenv(variable, proxy.url)
        async with client_for(server, proxy=None) as client:
            assert (await client.run_status("run_1")).succeeded

    assert proxy.heads[0].startswith(f"GET {server.url}/v1/runs/run_1 HTTP/1.1\r\n")
    assert server.requests[0].headers["lume-api-key"] == KEY


@pytest.mark.parametrize("hosts", ["127.0.0.1", "example.com,127.0.0.1", "*"])
async def test_no_proxy_is_obeyed(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Proxy() as proxy, Loopback([forever(run_reply())]) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", hosts)
        async with client_for(server, proxy=None) as client:
            await client.run_status("run_1")

    assert proxy.heads == []


async def test_proxy_false_is_obeyed_and_an_argument_beats_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Proxy() as named, Proxy() as other, Loopback([forever(run_reply())]) as server:
        monkeypatch.setenv("http_proxy", other.url)
        async with client_for(server, proxy=False) as client:
            await client.run_status("run_1")
        assert named.heads == []
        async with client_for(server, proxy=named.url) as client:
            await client.run_status("run_1")

    assert len(named.heads) == 1
    assert other.heads == []


async def test_the_password_of_a_proxy_goes_to_the_proxy_only() -> None:
    async with Proxy() as proxy, Loopback([forever(run_reply())]) as server:
        url = proxy.url.replace("http://", "http://user:canary-password@")
        async with client_for(server, proxy=url) as client:
            await client.run_status("run_1")
            assert "canary-password" not in repr(client) + repr(client._sender.settings)

    assert f"Proxy-Authorization: Basic {b64encode(b'user:canary-password').decode()}" in proxy.heads[0]


async def test_https_goes_through_a_tunnel_that_never_sees_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("cryptography")
    from faults.certificates import Authority

    authority = Authority(tmp_path)
    async with Proxy() as proxy, Loopback([forever(run_reply())], ssl=authority.server()) as server:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with client_for(server, proxy=None, ssl=authority.ca_file) as client:
            assert (await client.run_status("run_1")).succeeded

    assert [head.partition("\r\n")[0] for head in proxy.heads] == [
        f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    ]
    assert KEY not in proxy.heads[0]


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_tunnel_that_the_proxy_refuses_is_no_lost_submission(status: int) -> None:
    async with Proxy(refuses=status) as proxy, Loopback([]) as server:
        url = server.url.replace("http:", "https:")
        client, _ = leaping_client(server, base_url=url, proxy=proxy.url)
        async with client:
            with pytest.raises(ApiConnectionError) as caught:
                await client.run(FLOW, SOURCE, force_rerun=True)

    assert not caught.value.reached
    assert str(status) in str(caught.value)


async def test_a_proxy_that_is_away_is_no_lost_submission() -> None:
    async with Loopback([], refusing=True) as proxy, Loopback([]) as server:
        client, _ = leaping_client(server, proxy=proxy.url)
        async with client:
            with pytest.raises(ApiConnectionError) as caught:
                await client.run(FLOW, SOURCE, force_rerun=True)

    assert not caught.value.reached


async def test_a_502_of_a_proxy_may_be_a_lost_submission() -> None:
    """In plain HTTP nobody can tell whose 502 it is."""
    async with Proxy(refuses=502) as proxy, Loopback([]) as server:
        client, _ = leaping_client(server, proxy=proxy.url)
        async with client:
            with pytest.raises(SubmissionUnknownError):
                await client.run(FLOW, SOURCE, force_rerun=True)

    assert server.requests == []


@pytest.mark.parametrize("through", ["a proxy", "no proxy"])
async def test_a_netrc_file_is_not_read(
    through: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\ndefault login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with Proxy() as proxy, Loopback([forever(run_reply())]) as server:
        if through == "a proxy":
            monkeypatch.setenv("http_proxy", proxy.url)
        async with client_for(server, proxy=None) as client:
            await client.run_status("run_1")

    assert "authorization" not in server.requests[0].headers
    assert "authorization" not in "".join(proxy.heads).lower()
