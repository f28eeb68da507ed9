"""HTTPS of the server itself: who trusts it, certificates that are renewed while it runs, files of no use."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from components import package
from faults.certificates import Authority

import lume_async
import lume_local
from lume_async.errors import ConfigurationError

serialization = package("cryptography.hazmat.primitives.serialization")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Files:
    """The certificate and the key of a server, as a tool that renews them writes them."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.certificate, self.key = folder / "tls.pem", folder / "tls.key"
        self._authority = authority
        self.serials: list[int] = []

    def renew(self) -> tuple[bytes, bytes]:
        """A new pair, not written yet."""
        certificate, key = self._authority.pair()
        self.serials.append(certificate.serial_number)
        return (
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def write(self, certificate: bytes | None, key: bytes | None) -> None:
        for path, content in ((self.certificate, certificate), (self.key, key)):
            if content is not None:
                new = path.with_suffix(".new")
                new.write_bytes(content)
                new.replace(path)


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    files = Files(tmp_path, authority)
    files.write(*files.renew())
    return files


async def serial(server: lume_local.Server, authority: Authority, name: str | None = None) -> int:
    """The serial number of the certificate that a new connection gets."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.check_hostname = name is None  # a client that sends a name, or one that sends none
    host, port = "127.0.0.1", int(server.base_url.rpartition(":")[2])
    async with asyncio.timeout(20):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    found = writer.get_extra_info("peercert")
    writer.close()
    return int(found["serialNumber"], 16)


@pytest.mark.thorough
async def test_the_client_works_over_https(home: Path, files: Files, authority: Authority) -> None:
    serving = lume_local.serve(
        home / "flows", home / ".lume", [home], tls_cert=files.certificate, tls_key=str(files.key)
    )
    async with serving as server:
        assert server.base_url.startswith("https://127.0.0.1:")
        assert server.console_url().startswith(f"{server.base_url}/#token=")
        async with server.client(ssl=authority.ca_file) as client:
            run = await (await client.run("people:v1", "people.csv")).wait()
            assert run.status == "SUCCEEDED"
        async with server.client() as client:
            with pytest.raises(lume_async.ApiConnectionError, match="certificate"):
                await client.run("people:v1", "people.csv")
        async with aiohttp.ClientSession() as plain:
            with pytest.raises(aiohttp.ClientError):
                await plain.get(server.base_url.replace("https", "http") + "/healthz")


@pytest.mark.parametrize("name", [None, "127.0.0.1", "lume.example"])
async def test_a_renewed_certificate_is_used_at_once(
    home: Path, files: Files, authority: Authority, name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    serving = lume_local.serve(None, home / ".lume", tls_cert=files.certificate, tls_key=files.key)
    async with serving as server, server.client(ssl=authority.ca_file) as client:
        first = [flow async for flow in client.list_runs()]
        assert await serial(server, authority, name) == files.serials[0]
        certificate, key = files.renew()
        files.write(certificate, None)  # the key still belongs to the previous one
        for _ in range(2):
            assert await serial(server, authority, name) == files.serials[0]
        assert caplog.text.count("the previous certificate stays in use") == 1
        files.write(None, key)
        assert await serial(server, authority, name) == files.serials[1]
        files.certificate.unlink()
        assert await serial(server, authority, name) == files.serials[1]
        assert [flow async for flow in client.list_runs()] == first, "an open connection stays open"


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        (b"", None, "are not a PEM certificate and its key"),
        (None, b"nonsense", "are not a PEM certificate and its key"),
        ("absent", None, "can't be read: No such file"),
        (None, None, "belong together"),
    ],
)
async def test_files_that_can_not_be_used(
    home: Path, files: Files, certificate: bytes | str | None, key: bytes | None, words: str
) -> None:
    options: Any = {"tls_cert": files.certificate, "tls_key": files.key}
    if certificate == "absent":
        options["tls_cert"] = home / "absent"
    elif certificate is key is None:
        del options["tls_key"]
    else:
        assert not isinstance(certificate, str)
        files.write(certificate, key)
    with pytest.raises(ConfigurationError, match=words):
        async with lume_local.serve(None, home / ".lume", **options):
            pass


async def test_a_key_with_a_password(home: Path, files: Files, authority: Authority) -> None:
    certificate, key = authority.pair()
    secret = serialization.BestAvailableEncryption(b"secret")
    files.write(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret),
    )
    with pytest.raises(ConfigurationError, match=r"tls\.key is encrypted: save it without a password"):
        async with lume_local.serve(None, home / ".lume", tls_cert=files.certificate, tls_key=files.key):
            pass


async def test_no_run_reads_the_key(home: Path, files: Files) -> None:
    key = files.key.replace(home / "tls.key")
    serving = lume_local.serve(
        home / "flows", home / ".lume", [home], tls_cert=files.certificate, tls_key=key
    )
    async with serving as server:
        headers = {"lume-api-key": server.api_key}
        body = {"flow_version": "people:v1", "source_path": "tls.key"}
        async with (
            aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=False)) as http,
            http.post(f"{server.base_url}/v1/runs", json=body) as response,
        ):
            assert (response.status, (await response.json())["type"]) == (
                422,
                "urn:lume:problem:source-not-allowed",
            )
