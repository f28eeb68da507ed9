"""Files arrive while the server is killed: each content is submitted once, and none is missed or lost."""

from pathlib import Path

import pytest
from depth import seeds
from local.arrivals.kills import killed_while_files_arrive, killed_while_objects_arrive
from moto_server import Bucket
from on_posix import posix_only

pytestmark = [posix_only, pytest.mark.timeout(600)]


@pytest.mark.thorough
@seeds(2)
async def test_folders(tmp_path: Path, seed: int) -> None:
    await killed_while_files_arrive(tmp_path, seed, files=30, kills=5)


@pytest.mark.thorough
@seeds(2)
async def test_objects(tmp_path: Path, bucket: Bucket, seed: int) -> None:
    await killed_while_objects_arrive(tmp_path, bucket, seed, files=12, kills=3)
