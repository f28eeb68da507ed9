"""TLS with a certificate that is renewed while the server runs."""

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

from lume_async.errors import ConfigurationError

_log = logging.getLogger("lume_local")


class RenewedContext:
    """The context of a listening socket; each handshake uses the certificate that the files have then.

    While they can't be used, such as between the renewal of one and of the other, the previous certificate stays.

    Args:
        certificate: the file of a PEM certificate with its chain.
        key: the file of its PEM private key.
        on_reload: called with the certificate's path once both were read again.

    Raises:
        ConfigurationError: they can't be used.
    """

    def __init__(
        self, certificate: Path, key: Path, on_reload: Callable[[Path], None] = lambda path: None
    ) -> None:
        self._files, self._on_reload = (certificate, key), on_reload
        self._state = self._present_state()
        self._present = self.context = _loaded(certificate, key)
        self._trouble = ""
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called at the beginning of each handshake, also of clients that send no name."""
        state = self._present_state()
        if state != self._state:
            try:
                self._present = _loaded(*self._files)
            except ConfigurationError as error:
                if str(error) != self._trouble:
                    _log.error("%s; the previous certificate stays in use", error)
                self._trouble = str(error)
            else:
                self._state, self._trouble = state, ""
                _log.warning("%s was read again", self._files[0])
                self._on_reload(self._files[0])
        connection.context = self._present

    def _present_state(self) -> list[tuple[int, ...]] | None:
        """Changes with the files; None if one does not exist."""
        try:
            found = [os.stat(path) for path in self._files]
        except OSError:
            return None
        return [(one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found]


def _loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context with what the files have now. Raises `ConfigurationError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        raise ConfigurationError(f"tls_key: {key} is encrypted: save it without a password") from None
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigurationError(
            f"tls_cert, tls_key: {certificate} and {key} are not a PEM certificate and its key: {why}"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"tls_cert, tls_key: {certificate} or {key} can't be read: {error.strerror or error}"
        ) from None
    return context


class _Encrypted(Exception):
    """The key needs a password."""


def _no_password() -> str:
    raise _Encrypted
