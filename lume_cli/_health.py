"""Health checks: `probe` with the standard library alone, since a diagnosis must not rely on what it diagnoses."""

import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from aiohttp import ClientSession

TIMEOUT = 10.0
_MOST_READ = 64 * 1024
_LONGEST = 500


class HealthResponse:
    """The response to `GET /healthz`.

    Attributes:
        skew: this machine's clock minus the service's, in seconds; None without a Date header.
        waiting: the work that waits for another service, as reported.
        reason: why it can't work, as reported; empty if not reported.
        backup_age: the age in seconds of the copy of the server's state; None if the service does not report it.
    """

    def __init__(self, status: int, headers: Any, body: bytes, asked: float, answered: float) -> None:
        self.status = status
        self.headers = headers
        self.skew: float | None = None
        try:
            report = json.loads(body)
        except ValueError:
            report = None
        report = report if isinstance(report, dict) else {}  # another service may respond with anything
        waiting, age, reason = (report.get(key) for key in ("waiting", "backup_age_seconds", "detail"))
        texts = waiting if isinstance(waiting, list) else []
        self.waiting = [one[:_LONGEST] for one in texts if isinstance(one, str)][:10]
        self.reason = "".join(filter(str.isprintable, reason if isinstance(reason, str) else ""))[:_LONGEST]
        self.backup_age = float(age) if isinstance(age, int | float) and 0 <= age < 1e10 else None
        if date := headers.get("Date"):
            try:
                dated = parsedate_to_datetime(date).timestamp()
            except (TypeError, ValueError):
                return
            # The Date header has whole seconds, taken at some point between request and response.
            early, late = asked - dated - 1.0, answered - dated
            self.skew = 0.0 if early <= 0.0 <= late else min(early, late, key=abs)


class NoResponse(Exception):
    """The service did not respond; `reason` is the cause, `fix` the remedy."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Returns every response as it is, also an error or a redirect."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


def probe(base_url: str) -> HealthResponse:
    """Request the service's health; no key is sent. Raises `NoResponse` if there was no response."""
    opener = urllib.request.build_opener(_AnyStatus)  # and the environment's proxies
    request = urllib.request.Request(f"{base_url}/healthz")  # noqa: S310 - http or https: checked before
    asked = time.time()
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            body = answer.read(_MOST_READ)
            return HealthResponse(answer.status, answer.headers, body, asked, time.time())
    except urllib.error.URLError as error:
        raise _explain(error.reason) from None
    except (OSError, ValueError) as error:
        raise _explain(error) from None
    except Exception as error:  # http.client's own: the peer does not speak HTTP
        raise NoResponse(
            f"the peer does not speak HTTP ({type(error).__name__})", "check host and port"
        ) from None


class HealthCheck:
    """Makes the same request in an event loop, over one persistent connection. A context manager."""

    TIMEOUT = 1.5

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url.rstrip('/')}/healthz"
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open nothing before the first check."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self) -> str | None:
        """Return the fault, such as "does not respond (why)"; None if the status is below 500."""
        from aiohttp import ClientError, ClientSession, ClientTimeout

        if self._session is None:
            self._session = ClientSession(trust_env=True, timeout=ClientTimeout(self.TIMEOUT))
        try:
            async with self._session.get(self._url, allow_redirects=False) as answer:
                if answer.status < 500:
                    return None
                body = await answer.content.read(_MOST_READ)
                reason = HealthResponse(answer.status, answer.headers, body, 0.0, 0.0).reason
                return f"responds with status {answer.status}" + (f" ({reason})" if reason else "")
        except TimeoutError:
            why = f"no response within {self.TIMEOUT:g} s"
        except (ClientError, OSError, ValueError) as error:
            why = _explain(getattr(error, "os_error", error)).reason
        return f"does not respond ({why})"


def _explain(reason: object) -> NoResponse:
    """Return the reason of a failed connection in words, and what to do."""
    match reason:
        case socket.gaierror():
            return NoResponse("the host name can't be resolved", "check the base URL, the network and DNS")
        case ConnectionRefusedError():
            return NoResponse("nothing is listening there", "check host and port, or start the service")
        case ssl.SSLCertVerificationError():
            return NoResponse(
                f"the TLS certificate is not trusted ({reason.verify_message})",
                "set SSL_CERT_FILE to your network's CA file, or correct the host name",
            )
        case ssl.SSLError() if "WRONG_VERSION_NUMBER" in str(reason) or "RECORD_LAYER" in str(reason):
            return NoResponse(
                "this port does not speak TLS", "use http:// in the base URL, or the right port"
            )
        case ssl.SSLError():
            return NoResponse(f"the TLS handshake failed ({reason.reason})", "check the proxies in between")
        case TimeoutError():
            return NoResponse(
                f"no response within {TIMEOUT:.0f} s",
                "check the firewall and the proxy (HTTPS_PROXY, NO_PROXY)",
            )
        case _:
            text = re.sub(r"//[^/@\s]*@", "//***@", str(reason))  # a proxy's password
            return NoResponse(
                f"the connection failed ({text})", "check the base URL, the network and the proxy"
            )
