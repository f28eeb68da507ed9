"""A Celery worker with its prefork pool: a client that is made and used in the main process, and then in tasks."""

import time
from pathlib import Path

import pytest
from examples.support import command
from sync.service import NOISE, Service

# The main process is busy with calls of its own, also in the moments of its forks.
TASKS = """
import os, threading
from celery import Celery
import lume_sync as lume

app = Celery("tasks", broker="filesystem://", backend="file://" + os.path.abspath("results"))
app.conf.broker_transport_options = {
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control", "polling_interval": 0.05
}
app.conf.worker_max_tasks_per_child = 4
app.conf.broker_connection_retry_on_startup = False

client = lume.Client()

def use_in_main():
    assert client.run_status("done-main").succeeded
    waiting = threading.Thread(target=lambda: client.attach("x-main").wait(poll_interval=0.01), daemon=True)
    waiting.start()

@app.task
def clean(number):
    process = os.getpid()
    run = lume.run("f:v1", f"{process}-{number}").wait()
    assert client.run_status(run.id).succeeded
    return process, number, run.id

@app.task(throws=lume.RunNotFoundError)  # logged without its traceback
def fail():
    lume.attach("gone").refresh()
"""

WORKER = """
import tasks
tasks.use_in_main()
app = tasks.app
"""

PRODUCER = """
import os, sys
sys.path.insert(0, os.getcwd())
import lume_sync as lume
from tasks import clean, fail

jobs = [clean.delay(number) for number in range(16)]
failing = fail.delay()
for number, job in enumerate(jobs):
    process, answered, run_id = job.get(timeout=20, interval=0.02)
    assert (answered, run_id) == (number, f"done-{process}-{number}")
    print(process, flush=True)
try:
    failing.get(timeout=20, interval=0.02)
except lume.RunNotFoundError as error:
    print(type(error).__name__, error)
"""

CELERY = ("-m", "celery", "-A", "worker", "worker", "-c", "2", "--without-gossip", "--without-mingle")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    for name, source in (("tasks.py", TASKS), ("worker.py", WORKER), ("producer.py", PRODUCER)):
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.mark.thorough
async def test_tasks_have_connections_of_their_own_and_right_results(service: Service, folder: Path) -> None:
    env = {"LUME_BASE_URL": service.url}
    worker = command(*CELERY, "--without-heartbeat", folder=folder, env=env, flags=("-X", "dev"))
    async with worker, command("producer.py", folder=folder, env=env) as producer:
        made = await producer.end()
        service.wait_for("x-main", looks=service.count("x-main") + 2)
        begun = time.monotonic()
        worker.process.terminate()
        done = await worker.end()

    assert made.err == ""
    *processes, failed = made.out.splitlines()
    assert len(processes) == 16
    assert failed == "RunNotFoundError GET /v1/runs/gone: 404 Not Found: no such run"
    assert (done.code, "Warm shutdown" in done.out) == (0, True)
    assert time.monotonic() - begun < 10
    assert not [line for line in done.err.splitlines() if NOISE.search(line)], done.err
    found = service.connections_by_process()
    assert set(found) == {"main", *processes}
    assert len(set(processes)) >= 4, "the pool's processes were not replaced"
    assert len(found["main"]) == 1, "a child has ended the main process's connection"
    assert sum(map(len, found.values())) == len(set.union(*found.values())), "processes share a connection"
