"""TLS with an authority of our own: whom the client trusts, what it says where it does not, what it leaves."""

import ssl
from pathlib import Path
from textwrap import dedent

import pytest
from faults.certificates import Authority
from faults.support import FLOW, SOURCE, client_for, leaping_client, run_reply, run_script
from loopback import Loopback, forever, hang_up, reset
from run_service import RunService

from lume_async import ApiConnectionError, ApiError, Retry

ONCE = Retry(attempts=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("how", ["ssl=path", "ssl=str", "ssl=context", "SSL_CERT_FILE"])
async def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    how: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    option: Path | str | ssl.SSLContext | None
    match how:
        case "ssl=path":
            option = authority.ca_file
        case "ssl=str":
            option = str(authority.ca_file)
        case "ssl=context":
            option = ssl.create_default_context(cafile=authority.ca_file)
        case _:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
            option = None
    script = [forever(run_reply())]
    async with Loopback(script, ssl=authority.server()) as server, client_for(server, ssl=option) as client:
        assert (await client.run_status("run_1")).succeeded


@pytest.mark.parametrize("trust", ["unknown authority", "wrong host", "expired"])
async def test_a_server_that_is_not_trusted_gets_no_key_and_no_request(
    trust: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    context = authority.server(
        "elsewhere.test" if trust == "wrong host" else "127.0.0.1", expired=trust == "expired"
    )
    option = None if trust == "unknown authority" else authority.ca_file
    async with Loopback([], ssl=context) as server:
        client, _ = leaping_client(server, ssl=option)
        async with client:
            with pytest.raises(ApiConnectionError, match="trust store: ") as caught:
                await client.run(FLOW, SOURCE, force_rerun=True)

    assert not caught.value.reached  # so that it is no lost submission
    assert str(option or "the system's") in str(caught.value)
    reason = {"unknown authority": "unable to get", "wrong host": "not valid for", "expired": "expired"}[
        trust
    ]
    assert reason in str(caught.value)
    assert server.requests == []


async def test_a_server_that_speaks_no_tls_is_named(authority: Authority) -> None:
    async with Loopback([hang_up("first byte")]) as server:
        url = server.url.replace("http:", "https:")
        async with client_for(server, base_url=url, ssl=authority.ca_file, retry=ONCE) as client:
            with pytest.raises(ApiConnectionError) as caught:
                await client.run(FLOW, SOURCE, force_rerun=True)

    assert not caught.value.reached


async def test_a_tls_client_at_a_plain_server_does_not_send_its_key(authority: Authority) -> None:
    async with Loopback([], ssl=authority.server()) as server:
        plain = server.url.replace("https:", "http:")
        async with client_for(server, base_url=plain, retry=ONCE) as client:
            with pytest.raises(ApiError):
                await client.run_status("run_1")

    assert server.requests == []


@pytest.mark.parametrize(
    "lost", [reset(), hang_up(), run_reply(code=201).cut("body")], ids=["reset", "fin", "cut"]
)
async def test_a_lost_answer_over_tls_makes_no_second_run(lost: object, authority: Authority) -> None:
    async with RunService() as service:
        service._ssl = authority.server()
        await service.refuse()
        await service.accept()
        service.lose(lost, committed=True)  # type: ignore[arg-type]
        client, _ = leaping_client(service, ssl=authority.ca_file)
        async with client:
            run = await client.run(FLOW, SOURCE, force_rerun=True)
            await run.wait()

    assert list(service.runs) == [run.id]


QUIET = {
    "never closed": """
        async def main():
            client = Client(proxy=False)
            await client.run_status("run_1")

        asyncio.run(main())
    """,
    "closed fifty times": """
        async def main():
            for _ in range(50):
                async with Client(proxy=False) as client:
                    await client.run_status("run_1")

        asyncio.run(main())
    """,
    "two loops": """
        client = Client(proxy=False)
        for _ in range(2):
            asyncio.run(client.run_status("run_1"))
    """,
    "dropped while its loop goes on": """
        async def main():
            for _ in range(8):
                await Client(proxy=False).run_status("run_1")
                gc.collect()
            await asyncio.sleep(0)

        asyncio.run(main())
    """,
    "cancelled in the middle": """
        async def main():
            client = Client(proxy=False)
            await client.run_status("run_1")
            tasks = [asyncio.create_task(client.run_status("run_1")) for _ in range(20)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()

        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("program", QUIET.values(), ids=QUIET)
async def test_a_program_ends_without_a_word(program: str, secure: bool, authority: Authority) -> None:
    context = authority.server() if secure else None
    async with Loopback([forever(run_reply())], ssl=context) as server:
        env = {"LUME_BASE_URL": server.url, "SSL_CERT_FILE": str(authority.ca_file)}
        source = "import asyncio, gc\nfrom lume_async import Client\n" + dedent(program)
        done = await run_script(source, env=env, flags=("-X", "dev", "-W", "error"), forked=True)

    left = "unclosed transport" in done.err or "_warn_unclosed" in done.err
    if secure and "cancel" in program and left:
        # asyncio's create_connection begins to end TLS, and has no time for that if the loop ends; uvloop never
        # does. So it is for aiohttp alone.
        pytest.skip("a TLS handshake was cancelled as it ended")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert server.requests
