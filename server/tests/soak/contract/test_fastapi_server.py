"""A server that fastapi-codegen generated from openapi.yaml, with a few lines behind its stubs, under our client."""

import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from components import component
from contract_tools.support import DESCRIPTION, run
from local.receiver import unused_port

import lume_async as lume

HERE = Path(__file__).parent
BEHIND = ("health", "submit_run", "get_run", "cancel_run", "list_runs", "put_upload")


def fill_in(main: Path) -> None:
    """Replace the `pass` of the stubs that are implemented."""
    text = main.read_text().replace("from fastapi import", "import implementation\nfrom fastapi import", 1)
    for name in BEHIND:
        pattern = re.compile(rf'^(def {name}\(.*?^    """.*?"""\n)    pass$', re.MULTILINE | re.DOTALL)
        is_async = name == "put_upload"
        body = f"    return {'await ' if is_async else ''}implementation.{name}(**locals())"
        text, count = pattern.subn(lambda found, body=body: f"{found[1]}{body}", text)
        assert count == 1, name
        if is_async:
            text = text.replace(f"def {name}(", f"async def {name}(")
    # FastAPI's name for it is another one than OpenAPI's, which the generator does not know.
    main.write_text(text.replace("    license={", "    license_info={"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("server"), unused_port()
    program = component("fastapi-codegen")
    options = ["--input", str(DESCRIPTION), "--output", str(folder / "generated")]
    made = run(program, *options, "--python-version", "3.11", folder=folder)
    assert made.returncode == 0, made.stdout
    fill_in(folder / "generated" / "main.py")
    (folder / "implementation.py").write_bytes((HERE / "implementation.py").read_bytes())
    python = str(Path(program).with_name("python"))
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [python, "-m", "uvicorn", "generated.main:app", "--port", str(port)],
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while "running on" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
async def client(url: str) -> AsyncIterator[lume.Client]:
    async with lume.Client("any", base_url=url) as client:
        yield client


@pytest.mark.timeout(180)
async def test_runs_are_submitted_followed_and_listed(client: lume.Client) -> None:
    good = await client.run("people:v1", "good.csv", run_metadata={"ticket": ["A-1", None, 1.5]})
    bad = await client.run("people:v1", "bad.csv", idempotency_key="k-1")
    again = await client.run("people:v1", "bad.csv", idempotency_key="k-1")
    assert again.id == bad.id
    await good.wait(timeout=60)
    await bad.wait(timeout=60)
    assert (good.status, bad.status) == ("SUCCEEDED", "PARTIAL_FAILED")
    assert good.run_metadata == {"ticket": ["A-1", None, 1.5]}
    assert bad.metadata.metrics.reject_reasons == {"id: is not an integer": 1}
    # The optional members that this server sends as null.
    assert (bad.metadata["metrics"]["warnings"], bad.metadata.metrics.warnings) == (None, {})
    listed = [run.id async for run in client.list_runs(status=["SUCCEEDED", "PARTIAL_FAILED"])]
    assert listed[:2] == [bad.id, good.id]
    with pytest.raises(lume.DuplicateRunError) as caught:
        await client.run("people:v1", "good.csv")
    assert caught.value.run_id == good.id
    with pytest.raises(lume.RunNotFoundError):
        await client.run_status("run_99")


@pytest.mark.timeout(180)
async def test_many_at_once_without_any_capability(client: lume.Client) -> None:
    runs = [await client.run("people:v1", f"{number}.csv") for number in range(20)]
    await runs[0].cancel()
    ended = {outcome.run.id: outcome.run.status async for outcome in client.as_completed(runs, timeout=90)}
    assert ended == {run.id: "CANCELLED" if run is runs[0] else "SUCCEEDED" for run in runs}


@pytest.mark.timeout(180)
async def test_a_file_arrives(client: lume.Client, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(range(256)) * 100)
    assert (await client.upload_file(tmp_path / "data.bin")).startswith("upload://")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "body",
    [
        {"source_path": "a.csv"},
        {"flow_version": "people:v1", "source_path": " "},
        {"flow_version": "people:v1", "source_path": "a\nb"},
        {"flow_version": "people:v1", "source_path": "a.csv", "more": 1},
        {"flow_version": "people:v1", "source_path": "a.csv", "run_metadata": []},
        {"flow_version": "people:v1", "source_path": "a.csv", "webhook_url": "ftp://x"},
    ],
)
async def test_the_generated_server_refuses_what_ours_refuses(url: str, body: dict[str, object]) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/runs", json=body) as answer:
        assert answer.status == 422
