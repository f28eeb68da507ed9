"""TLS with a certificate that is renewed while the server runs."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from lume_async.errors import ConfigurationError
from lume_local._shared.saved import Reread

_log = logging.getLogger("lume_local")


class RenewedContext:
    """The context of a listening socket; each handshake uses the current certificate of the files.

    While the files can't be used, for example because only one is renewed yet, the previous certificate is used.

    Args:
        certificate: the file of a PEM certificate with its chain.
        key: the file of its PEM private key.
        on_reload: called with the certificate's path after both were reread.

    Raises:
        ConfigurationError: they can't be used.
    """

    def __init__(
        self, certificate: Path, key: Path, on_reload: Callable[[Path], None] = lambda path: None
    ) -> None:
        self._certificate, self._on_reload = certificate, on_reload
        self._file = Reread(lambda: _loaded(certificate, key), "certificate stays in use", certificate, key)
        self.context = self._file.value
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Choose the certificate at the beginning of a handshake, even for clients that send no name."""
        if self._file.look():
            _log.warning("%s was read again", self._certificate)
            self._on_reload(self._certificate)
        connection.context = self._file.value


def _loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context with the present content of the files. Raises `ConfigurationError`."""
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
