"""Sign-in to SFTP servers. Host keys are always checked; an unknown key can't be accepted."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from lume_async._base.elided import elided
from lume_local._sftp import trouble
from lume_local._sftp.host_keys import ALGORITHMS, HostKeys
from lume_local._sftp.root import SftpRoot
from lume_local._sftp.trouble import Cause, SftpTrouble
from lume_local._shared.extras import require

if TYPE_CHECKING:
    import asyncssh

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
    with _sign_in_errors(root), anyio.fail_after(trouble.CONNECT):
        connection = await _signed_in(root)
    try:
        with _sign_in_errors(root), anyio.fail_after(trouble.CONNECT):
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
        raise _away(site, f"no answer for {trouble.CONNECT:g} s") from None
    except (OSError, asyncssh.DisconnectError) as error:
        raise _away(site, elided(str(error))) from None


def _away(site: str, why: str) -> SftpTrouble:
    return SftpTrouble(
        f"{site} can't be reached: {why}: check the host, its port and the network", Cause.AWAY
    )
