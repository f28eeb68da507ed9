"""A hundred kills while 500 files arrive: runs are the distinct contents."""

import os
from pathlib import Path

import moto_server
import pytest
from local.arrivals.kills import killed_while_files_arrive, killed_while_objects_arrive

KILLS = int(os.environ.get("SOAK_KILLS", "100"))
FILES = int(os.environ.get("SOAK_FILES", "500"))
SEED = int(os.environ.get("SOAK_SEED", "1"))

pytestmark = pytest.mark.timeout(7200)


async def test_folders(tmp_path: Path) -> None:
    await killed_while_files_arrive(tmp_path, SEED, FILES, KILLS, forked=False)


async def test_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with moto_server.running() as bucket:
        bucket.empty()
        moto_server.in_environment(bucket, monkeypatch)
        await killed_while_objects_arrive(tmp_path, bucket, SEED, FILES, KILLS, forked=False)
