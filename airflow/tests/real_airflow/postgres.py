"""PostgreSQL from the distribution's packages: a data folder and a port of its own, never the system's service."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path


def programs() -> Path:
    """The folder of `initdb`, which Debian keeps off the path."""
    places = sorted(glob("/usr/lib/postgresql/*/bin"))
    if places:
        return Path(places[-1])
    found = shutil.which("initdb")
    if found is None:
        raise SystemExit("PostgreSQL is not installed: ./scripts/components")
    return Path(found).parent


@contextmanager
def postgres(folder: Path, port: int) -> Iterator[str]:
    """A running server; its address for SQLAlchemy, without the driver."""
    data = folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres")
    where = programs()
    _run(where / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N")
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
    _run(where / "pg_ctl", "-D", data, "-l", folder / "log", "-o", settings, "-w", "start")
    try:
        _run(where / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "airflow")
        yield f"postgres@127.0.0.1:{port}/airflow"
    finally:
        _run(where / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _run(*words: object) -> None:
    command = [str(word) for word in words]
    if os.getuid() == 0:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
