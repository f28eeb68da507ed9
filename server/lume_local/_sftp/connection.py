"""Sign-in to SFTP servers. Host keys are always checked; an unknown key can't be accepted."""

import os
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from lume_async._base.elided import elided
from lume_local._sftp import root as sftp_root
from lume_local._sftp.root import Cause, SftpRoot, SftpTrouble
from lume_local._shared.failing import require

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


_ALIVE, _SILENT = 15, 4
"""Seconds between probes of a silent connection, and the unanswered probes after which it ends."""
PARTING = 2.0
"""Seconds allowed for an orderly close."""


@asynccontextmanager
async def connected(root: SftpRoot) -> "AsyncIterator[asyncssh.SFTPClient]":
    """Yield a session with the server of a root. Raises `SftpTrouble`."""
    try:
        require("asyncssh", "sftp", "an SFTP server")
    except ImportError as error:
        raise SftpTrouble(str(error), Cause.REFUSED) from None
    with _sign_in_errors(root), anyio.fail_after(sftp_root.CONNECT):
        connection = await _signed_in(root)
    try:
        with _sign_in_errors(root), anyio.fail_after(sftp_root.CONNECT):
            # One file name that is not UTF-8 must not make the whole folder unreadable.
            session = await connection.start_sftp_client(path_errors="surrogateescape")
        yield session
    finally:
        with anyio.move_on_after(PARTING, shield=True) as parting:
            connection.close()
            await connection.wait_closed()
        if parting.cancelled_caught:
            connection.abort()


async def _signed_in(root: SftpRoot) -> "asyncssh.SSHClientConnection":
    import asyncssh

    place, keys = root.place, HostKeys(root)
    try:
        return await asyncssh.connect(
            place.host,
            place.port,
            username=place.user or (),
            config=None,  # a user's configuration can run programs
            known_hosts=keys.known,
            server_host_key_algs=ALGORITHMS,
            client_factory=keys.watching_client,
            keepalive_interval=_ALIVE,
            keepalive_count_max=_SILENT,
            compression_algs=None,
            gss_host=None,
            **_credentials(root),
        )
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
        raise keys.why_untrusted(error) or error from None


def _credentials(root: SftpRoot) -> dict[str, Any]:
    """Return the credentials that the root names, else those `ssh` would try. Raises `SftpTrouble`."""
    if not (root.key_file or root.password_env):
        return {"password": None}
    found: dict[str, Any] = {"client_keys": None, "agent_path": None, "password": None}
    if root.key_file:
        found["client_keys"] = [_private_key(root)]
    if root.password_env:
        found["password"] = _secret(root.password_env)
    return found


def _private_key(root: SftpRoot) -> "asyncssh.SSHKey":
    import asyncssh

    phrase = _secret(root.passphrase_env) if root.passphrase_env else None
    try:
        return asyncssh.read_private_key(str(Path(root.key_file).expanduser()), phrase)
    except OSError as error:
        raise SftpTrouble(
            f"the key {root.key_file} can't be read: {error.strerror or error}", Cause.DENIED
        ) from None
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
        how = f"check the value of {root.passphrase_env}" if phrase else "name its passphrase_env"
        raise SftpTrouble(
            f"{root.key_file} is not a private key that can be read: if it has a passphrase, {how}",
            Cause.DENIED,
        ) from None


def _secret(variable: str) -> str:
    if text := os.environ.get(variable):
        return text
    raise SftpTrouble(f"the environment variable {variable} is not set where the server runs", Cause.DENIED)


@contextmanager
def _sign_in_errors(root: SftpRoot) -> Iterator[None]:
    """Convert errors of signing in to `SftpTrouble`."""
    import asyncssh
    from asyncssh.constants import OPEN_CONNECT_FAILED

    site = root.place.site
    try:
        yield
    except asyncssh.PermissionDenied:
        named = [root.key_file, root.password_env and f"the value of {root.password_env}"]
        tried = " and ".join(filter(None, named)) or (
            "the keys of the agent and of ~/.ssh. Name a key_file or a password_env in the root"
        )
        raise SftpTrouble(f"{site} can't be used: it refused to sign in with {tried}", Cause.DENIED) from None
    except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost) as error:  # while SFTP was starting
        raise _away(site, elided(str(error))) from None
    except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
        if isinstance(error, asyncssh.ChannelOpenError) and error.code == OPEN_CONNECT_FAILED:
            raise _away(site, elided(str(error))) from None
        raise SftpTrouble(
            f"{site} can't be used: it refuses SFTP to this account: {elided(str(error))}", Cause.DENIED
        ) from None
    except TimeoutError:
        raise _away(site, f"no answer for {sftp_root.CONNECT:g} s") from None
    except (OSError, asyncssh.DisconnectError) as error:
        raise _away(site, elided(str(error))) from None


def _away(site: str, why: str) -> SftpTrouble:
    return SftpTrouble(
        f"{site} can't be reached: {why}: check the host, its port and the network", Cause.AWAY
    )
