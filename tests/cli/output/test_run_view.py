"""The page of a run: the layouts of its files."""

from typing import Any

import pytest

from lume_async.testing import FakeAnswer, fake_client, run_json
from lume_cli._output import run_view

COUNTED = {
    "webshop": {"files": 12, "rows_read": 4100, "rows_rejected": 1200, "header": ["id"]},
    "mueller": {"files": 1, "rows_read": 7},
}


@pytest.mark.parametrize(
    ("submitted", "counts", "shown"),
    [
        (None, {}, []),
        ("webshop", {}, ["webshop (as submitted)"]),
        (None, COUNTED, ["webshop  12 files  4,100 rows, 1,200 rejected", "mueller    1 file      7 rows"]),
        ("mueller", {"mueller": COUNTED["mueller"]}, ["mueller  1 file  7 rows (as submitted)"]),
    ],
)
async def test_the_layouts_of_a_run(submitted: str | None, counts: dict[str, Any], shown: list[str]) -> None:
    metrics = {"rows_read": 4107, "source": {"layouts": counts}}
    run = run_json("run_1", "SUCCEEDED", layout=submitted) | {"metadata": {"metrics": metrics}}
    client, _ = fake_client(lambda request: FakeAnswer(200, run))
    page = run_view.page(await client.run_status("run_1"))
    assert [value for name, value in page if name == "layout"] == shown
