"""The trusted host keys, and the message about an untrusted one."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lume_local._sftp.root import SftpRoot
from lume_local._sftp.trouble import Cause, SftpTrouble

if TYPE_CHECKING:
    import asyncssh

KNOWN_HOSTS = "~/.ssh/known_hosts"
ALGORITHMS = "+" + ",".join(
    ["ssh-ed25519", *(f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)), "rsa-sha2-512", "rsa-sha2-256"]
)
"""Appended to the trusted key types, so that a server with another type still shows its key for the message."""
_PORT = 22


class HostKeys:
    """The host keys of one server; read again for every connection, so that a corrected file takes effect at once."""

    def __init__(self, root: SftpRoot) -> None:
        self._place = root.place
        self._path = root.known_hosts or KNOWN_HOSTS
        self._shown: list[asyncssh.SSHKey] = []
        self.known = self._read()

    def _read(self) -> "asyncssh.SSHKnownHosts":
        import asyncssh

        try:
            return asyncssh.read_known_hosts(str(Path(self._path).expanduser()))
        except FileNotFoundError:
            return asyncssh.import_known_hosts("")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise SftpTrouble(f"the known hosts {self._path} can't be read: {why}", Cause.HOST_KEY) from None

    def watching_client(self) -> "asyncssh.SSHClient":
        """Return a client that records the key of a server if it is not trusted."""
        import asyncssh

        class Watching(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                shown.append(key)
                return False

        shown = self._shown
        return Watching()

    def why_untrusted(self, error: Exception) -> SftpTrouble | None:
        """Return what to do about a server's key; None if the error has another cause."""
        listed, authorities, *_ = self.known.match(
            self._place.host, "", None if self._place.port == _PORT else self._place.port
        )
        if not self._shown and "host key" not in str(error).lower():
            return None
        key = self._shown[0] if self._shown else None
        shown = f" ({key.get_algorithm()}, {key.get_fingerprint()})" if key else ""
        port = "" if self._place.port == _PORT else f"-p {self._place.port} "
        name = f"[{self._place.host}]:{self._place.port}" if port else self._place.host
        file = self._path if self._path == KNOWN_HOSTS else shlex.quote(self._path)
        add = f"ssh-keyscan {port}{self._place.host} >> {file}"
        if "revoked" in str(error):
            words = (
                f"its host key is revoked in {self._path}: once its operator has given it a new one: {add}"
            )
        elif listed or authorities:
            forget = f"ssh-keygen -R {shlex.quote(name)} -f {file}"
            words = (
                f"its host key has changed{shown}: another server may have taken its place. Once its operator has "
                f"confirmed the new key: {forget} && {add}"
            )
        else:
            words = f"its host key{shown} is not in {self._path}. Once its operator has confirmed it: {add}"
        return SftpTrouble(f"{self._place.site} is not used: {words}", Cause.HOST_KEY)
