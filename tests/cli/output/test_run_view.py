"""The page of a run, and its source in a list."""

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


REPLAY = "upload://lume-replay-7c0fd2a1a3c24b0fb3f6dd2be4f0a2b1.csv"
UPLOAD = f"upload://{'0' * 32}-run_1.csv"


@pytest.mark.parametrize(
    ("path", "metadata", "shown"),
    [
        ("a/b.csv", None, "a/b.csv"),
        (f"upload://{'0' * 32}-b.csv", None, "b.csv (uploaded)"),
        (REPLAY, {"replay": {"rows": 1, "source_path": "a/b.csv"}}, "replay of 1 row of a/b.csv"),
        (REPLAY, {"replay": {"rows": 2000}}, "replay of 2,000 rows"),
        (
            REPLAY,
            {"mend": {"rows": 2, "source_path": UPLOAD}},
            "corrections of 2 rows of run_1.csv (uploaded)",
        ),
        (UPLOAD, {"resubmit_of": "run_1", "resubmit_source": "a/b.csv"}, "corrections of a/b.csv"),
        (
            *(
                UPLOAD,
                {"resubmit_of": "run_2", "replay": {"source_path": "b.csv"}, "resubmit_source": REPLAY},
            ),
            "corrections of b.csv",
        ),
        (UPLOAD, {"resubmit_of": "run_1"}, "run_1.csv (uploaded)"),
        ("b.csv", {"mend": 1, "resubmit_of": [], "resubmit_source": {}}, "b.csv"),
        (REPLAY, {"replay": {"source_path": 7}}, "replay of 0 rows"),
    ],
)
async def test_the_source_of_a_run_in_a_list(path: str, metadata: Any, shown: str) -> None:
    run = run_json("run_9", "SUCCEEDED", source_path=path, run_metadata=metadata)
    client, _ = fake_client(lambda request: FakeAnswer(200, run))
    assert run_view.source(await client.run_status("run_9")) == shown
