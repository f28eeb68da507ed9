"""A PostgreSQL that tests start themselves: a data folder, a port and a password of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from components import component, package

USER, PASSWORD = "lume", "s3cret pässword"
QUOTED = "s3cret%20p%C3%A4ssword"


@frozen
class Server:
    folder: Path
    port: int
    is_durable: bool = False

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{self.port}/postgres"

    @property
    def shown(self) -> str:
        """What may be seen of the URL."""
        return f"postgresql://127.0.0.1:{self.port}/postgres"

    def execute(self, statement: str, parameters: Any = None, *, url: str = "") -> list[tuple[Any, ...]]:
        """In the database of the `url`, if not in the first one."""
        psycopg = package("psycopg")
        with psycopg.connect(url or self.url) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def execute_outside(self, statement: str) -> None:
        """Execute a statement that can't be in a transaction."""
        with package("psycopg").connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def crash(self) -> None:
        """End all of its processes at once, and start it again."""
        self._pg_ctl("stop", "-m", "immediate")
        self.start()

    def start(self) -> None:
        self._pg_ctl("start", "-l", f"{self.folder}/later.log", "-o", f"-p {self.port} {_options(self)}")

    def end(self) -> None:
        """End what has been started after a crash."""
        if (self.folder / "data/postmaster.pid").exists():
            self._pg_ctl("stop", "-m", "immediate")

    def _pg_ctl(self, *arguments: str) -> None:
        command = [component("pg_ctl"), "-D", f"{self.folder}/data", "-w", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **_as_user())


def _options(server: Server) -> str:
    settings = [
        f"fsync={'on' if server.is_durable else 'off'}",
        # A connection whose maker was cancelled may stay half open for so long: no database is dropped meanwhile.
        "authentication_timeout=15s",
        "listen_addresses=127.0.0.1",
        f"unix_socket_directories={server.folder}",
    ]
    return " ".join(f"-c {setting}" for setting in settings)


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to be root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


@contextmanager
def running(*, durable: bool = False) -> Iterator[Server]:
    """A server; a `durable` one waits for the disk at each commit."""
    initdb, postgres = component("initdb"), component("postgres")
    package("psycopg")
    as_user = _as_user()
    folder = Path(tempfile.mkdtemp(prefix="lume-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        for path in (folder, folder / "password"):
            if as_user:
                shutil.chown(path, "postgres", "postgres")
        options = f"-U {USER} -A scram-sha-256 --no-sync -E UTF8 --locale=C".split()
        made = subprocess.run(
            [initdb, "-D", str(folder / "data"), f"--pwfile={folder / 'password'}", *options],
            capture_output=True,
            text=True,
            cwd=folder,
            **as_user,
        )
        assert made.returncode == 0, made.stderr
        server = Server(folder, free_port(), durable)
        with started(server, postgres, as_user):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(server: Server, postgres: str, as_user: dict[str, Any]) -> Iterator[None]:
    with (server.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [postgres, "-D", str(server.folder / "data"), "-p", str(server.port), *_options(server).split()],
            stdout=log,
            stderr=log,
            cwd=server.folder,
            **as_user,
        )
    try:
        wait_until_up(server, process)
        yield
    finally:
        process.send_signal(signal.SIGQUIT)  # at once
        process.wait()
        server.end()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_until_up(server: Server, process: "subprocess.Popen[bytes]") -> None:
    psycopg = package("psycopg")
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, (server.folder / "log").read_text()
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (server.folder / "log").read_text()
            time.sleep(0.05)
        else:
            return
