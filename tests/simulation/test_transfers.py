"""Transfers at each byte: an upload and a download are cut, reset or stalled there, and come out whole."""

import asyncio
from pathlib import Path

import depth
import pytest

from lume_async import Client, InvalidRequestError, Retry
from lume_async.errors import ApiTimeoutError
from lume_async.testing import Chance, SimulatedServer, simulate
from lume_async.testing._link import UNDERWAY
from lume_async.testing._simulate import Simulation
from lume_async.testing._wire import WireNetwork

CONTENT = b"".join(b'{"n": %d, "is": "%s"}\n' % (n, b"bad" if n % 3 else b"good") for n in range(20))


def network_with(fault: str, after: int) -> WireNetwork:
    """Return a network in which one thing befalls the first connection."""
    network = WireNetwork(SimulatedServer(lasts=1.0), Chance(after), delays=(0.0, 0.01))
    network.planned[0] = fault, after
    return network


def moved(network: WireNetwork, folder: Path) -> tuple[str, bytes]:
    """Upload, run and download over the network; return the source path, and what has arrived."""

    async def program() -> tuple[str, bytes]:
        # More attempts: servers close some connections while they are idle, too.
        patient = Retry(attempts=6)
        async with Client("the-key", base_url="http://lume.test", proxy=False, retry=patient) as client:
            run = await (await client.run("flow:v1", data=CONTENT)).wait()
            path = await run.download("rejects", folder / "rejects")
            assert run.source_path is not None
            return run.source_path, path.read_bytes()

    return Simulation(network.chance, network, folder).live(program)


@pytest.mark.parametrize("fault", UNDERWAY)
def test_a_transfer_is_whole_wherever_its_first_connection_breaks(fault: str, tmp_path: Path) -> None:
    last = 2_500
    struck = 0
    for after in range(0, last, 19 if depth.is_thorough else 97):
        network = network_with(fault, after)
        source, got = moved(network, tmp_path)

        files = network.server.files
        assert files.stored[source.removeprefix("upload://")] == CONTENT
        assert got == files.output("run_0", source, "rejects")
        assert len(network.server.runs) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["rejects"]
        struck += network.count > 1
    assert struck > 5  # some are after the last byte


def test_what_is_unsent_keeps_no_connection_open(tmp_path: Path) -> None:
    """A transport that is closed waits until its peer takes all, and a silent one takes nothing."""
    network = network_with("stalled there", 100_000)
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(1_000_000))

    async def upload() -> int:
        once = Retry(attempts=1)
        async with Client("the-key", base_url="http://lume.test", proxy=False, retry=once) as client:
            with pytest.raises(ApiTimeoutError):
                await client.upload(file)
        await asyncio.sleep(1.0)
        return sum(not link.client.is_lost for link in network.links)

    assert Simulation(network.chance, network, tmp_path).live(upload) == 0
    assert network.count == 1


@pytest.mark.parametrize(
    ("ends_as", "after", "status", "kind"),
    [("SUCCEEDED", 0.0, 409, "run-not-ended"), ("FAILED", 10.0, 404, "no-output")],
)
def test_a_run_without_output_is_answered_as_in_the_contract(
    ends_as: str, after: float, status: int, kind: str
) -> None:
    async def ask() -> list[InvalidRequestError]:
        errors = []
        async with Client("key", base_url="http://lume.test") as client:
            run = await client.run("f:v1", "a.csv")
            await asyncio.sleep(after)
            for part in (run.rejects(), run.mapped()):
                with pytest.raises(InvalidRequestError) as caught:
                    await anext(part)
                errors.append(caught.value)
        return errors

    for error in simulate(ask, SimulatedServer(lasts=5.0, ends_as=ends_as), faults=0.0):
        assert (error.status_code, f"urn:lume:problem:{kind}" in error.body) == (status, True)
