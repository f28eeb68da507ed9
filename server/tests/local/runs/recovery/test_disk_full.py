"""A disk that is full at any moment, or read-only: every run ends with a reason, and work goes on afterwards."""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local.flows import slow_rows
from local.servers import process, serve
from local.wire import Wire

from lume_async.errors import ConfigurationError
from lume_local._runs import runner
from lume_local._runs.recovery.settle import Settler

SIZE = 24 * 1024 * 1024


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """The data folder on a disk of 24 MB."""
    data = home / ".lume"
    kept = home / "kept"
    data.rename(kept)
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(data)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        kept.rename(home / "unused")
        pytest.skip("needs a small disk: run as root, where `mount -t tmpfs` is allowed")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(data)], check=True)
        yield data
    finally:
        subprocess.run(["umount", "--lazy", str(data)], check=True)


def fill(disk: Path) -> None:
    """Leave no room, down to the last byte."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def free(disk: Path) -> None:
    (disk / "filler").unlink(missing_ok=True)


async def submitted(wire: Wire, source: Path) -> str | None:
    """A run's id, or None where the disk is full."""
    source.hardlink_to(source.with_name("big.csv"))
    answer = await wire.submit("people:v1", source.name)
    if answer.status == 507:
        assert answer.kind == "storage-full"
        assert "the disk is full" in answer.document["detail"]
        return None
    assert answer.status == 201, answer.document
    run_id: str = answer.document["id"]
    return run_id


async def healthy_again(wire: Wire) -> None:
    async with asyncio.timeout(20):
        while (await wire.ask("GET", "/healthz")).status != 200:
            await asyncio.sleep(0.05)


@pytest.mark.thorough
@pytest.mark.timeout(180)
async def test_filled_and_freed_at_random(home: Path, small_disk: Path) -> None:
    (home / "big.csv").write_text(
        "id,Email,Age\n" + "".join(f"{n},user{n * 7919 % 100003}@example.org,5\n" for n in range(40_000))
    )
    dice = random.Random(11)
    ended: list[dict[str, Any]] = []
    refused = 0
    async with serve(home) as wire:
        for n in range(3):
            started = [await submitted(wire, home / f"before{n}.csv")]
            await asyncio.sleep(dice.uniform(0, 0.5))  # anywhere in the run
            fill(small_disk)
            healthy = await wire.ask("GET", "/healthz")
            assert (healthy.status, healthy.kind) == (503, "unavailable")
            assert "the disk is full" in healthy.document["detail"]
            started.append(await submitted(wire, home / f"while{n}.csv"))
            await asyncio.sleep(dice.uniform(0, 0.5))
            free(small_disk)
            ended += [await wire.until(run_id) for run_id in started if run_id is not None]
            refused += None in started
            for path in (small_disk / "out").rglob("*.*"):
                path.unlink()  # a small disk
        await healthy_again(wire)
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
        page = (await wire.ask("GET", "/v1/runs", params={"limit": 100})).document["items"]
    assert all(run["finished_at"] for run in page), "no run is left"
    for run in ended:
        assert run["status"] in ("SUCCEEDED", "FAILED", "CRASHED")
        if run["status"] != "SUCCEEDED":
            assert "the disk is full" in run["metadata"]["error_message"], run
    assert refused, "submissions met the full disk too"
    assert not list(small_disk.glob("state/runs/*"))


async def test_full_at_the_start(home: Path, small_disk: Path) -> None:
    async with serve(home) as wire:
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
    fill(small_disk)
    with pytest.raises(ConfigurationError, match=r"(?i)the disk with .* is full: make room|No space left"):
        async with serve(home):
            pass
    free(small_disk)
    async with serve(home) as wire:
        assert (await wire.submit("people:v1", "people.csv")).status == 409, "nothing is forgotten"


@pytest.mark.thorough
@pytest.mark.parametrize("closed", [False, True])
async def test_full_while_a_server_recovers(
    home: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    (home / "slow.csv").write_text(slow_rows())
    async with process(home) as (server, wire):
        run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(run_id, "TRANSFORMING")
        server.kill()
        await server.wait()

    settle = Settler.settle

    async def full_now(*args: Any) -> str:
        fill(small_disk)
        return await settle(*args)

    monkeypatch.setattr(Settler, "settle", full_now)
    monkeypatch.setattr(runner, "RECOVERY_PATIENCE", 0.3)
    async with serve(home) as wire:
        health = await wire.ask("GET", "/healthz")
        assert (health.status, health.kind) == (503, "unavailable")
        assert "disk is full" in health.document["detail"]  # of whatever found it first
        assert (await wire.submit("people:v1", "people.csv")).status == 507
        assert (await wire.get(run_id)).document["status"] == "TRANSFORMING"
        if not closed:
            free(small_disk)
            assert (await wire.until(run_id))["status"] == "CRASHED"
            assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
            await healthy_again(wire)
    free(small_disk)
    monkeypatch.undo()
    async with serve(home) as wire:
        assert (await wire.until(run_id))["status"] == "CRASHED", "by whichever server has room"


async def test_a_data_folder_that_is_read_only(home: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ConfigurationError, match=r"(?i)read-?only"):
        async with serve(home):
            pass
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    async with serve(home) as wire:
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"


@pytest.mark.parametrize("folder", ["out", "state/runs"])
async def test_a_folder_that_is_read_only_for_a_while(home: Path, small_disk: Path, folder: str) -> None:
    async with serve(home) as wire:
        place = small_disk / folder
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=True)
        try:
            run = await wire.run("people:v1", "people.csv")
        finally:
            subprocess.run(["umount", str(place)], check=True)
        assert run["status"] == "FAILED"
        assert "Read-only file system" in run["metadata"]["error_message"]
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
