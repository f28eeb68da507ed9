"""OpenSSH's server as an ordinary process, with keys of its own: `sshd -D` on a port of this machine."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path

from attrs import define
from components import component, package
from postgres_server import free_port

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
"""
_PATIENCE = "PerSourcePenalties no\n"
"""Since OpenSSH 9.8: else it refuses this machine for a while after some tests have failed to sign in."""


@define
class SftpSite:
    """A server with one folder for files; what signs in is in `key_file` and `known_hosts`.

    Attributes:
        folder: its configuration and keys.
        files: what it serves.
    """

    folder: Path
    files: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Of the folder with the files."""
        return f"sftp://{getuser()}@127.0.0.1:{self.port}{self.files}"

    @property
    def root(self) -> str:
        """As an operator writes it."""
        return f"{self.url}?key_file={self.folder}/key&known_hosts={self.folder}/known_hosts"

    def put(self, name: str, content: bytes, modified: float | None = None) -> Path:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if modified is not None:
            os.utime(path, (modified, modified))
        return path

    def new_host_key(self) -> None:
        """Make one; a server that runs has the old one until it is started again."""
        key = package("asyncssh").generate_private_key("ssh-ed25519")
        path = self.folder / "host_key"
        path.unlink(missing_ok=True)
        path.touch(0o600)
        key.write_private_key(str(path))
        key.write_public_key(f"{path}.pub")

    def trust(self) -> None:
        """Know the present host key, and no other."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [component("sshd"), "-D", "-e", "-f", str(self.folder / "config")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as one:
                if one.recv(4) == b"SSH-":
                    return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, with its connections."""
        if self.process is not None:
            self.signal_connections(signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self.signal_connections(signal.SIGKILL)
            self.process = None

    def connections(self) -> list[int]:
        """The processes of the connections that are open."""
        return [] if self.process is None else _below(self.process.pid)

    def signal_connections(self, number: int) -> int:
        """Send a signal to the processes of all connections; how many there were."""
        found = self.connections()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(found)


def _below(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = list[int](), [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


@contextmanager
def running() -> Iterator[SftpSite]:
    component("sshd")
    asyncssh = package("asyncssh")
    folder = Path(tempfile.mkdtemp(prefix="lume-sftp-"))
    site = SftpSite(folder, folder / "files", free_port())
    try:
        site.files.mkdir()
        key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / "key").touch(0o600)
        key.write_private_key(str(folder / "key"))
        key.write_public_key(str(folder / "authorized_keys"))
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # which it requires of root
        site.new_host_key()
        site.trust()
        config = folder / "config"
        config.write_text(_CONFIG.format(port=site.port, folder=folder) + _PATIENCE)
        if subprocess.run([component("sshd"), "-t", "-f", str(config)], capture_output=True).returncode:
            config.write_text(_CONFIG.format(port=site.port, folder=folder))
        site.start()
        yield site
    finally:
        site.stop()
        shutil.rmtree(folder, ignore_errors=True)
