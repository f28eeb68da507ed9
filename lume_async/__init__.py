"""An asynchronous client for Lume: run data transformations, wait for them, monitor thousands.

Names are loaded on first use (PEP 562): importing the package loads neither aiohttp nor cattrs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lume_async._base import default_client as _default
from lume_async._base.version import __version__

if TYPE_CHECKING:
    from lume_async._api import (
        aclose,
        as_completed,
        attach,
        default_client,
        init,
        list_runs,
        monitor,
        progress,
        run,
        run_many,
        run_status,
        upload_file,
        wait_all,
        wait_for_run_completion,
        watch,
    )
    from lume_async._base.backoff import Backoff, PollInterval
    from lume_async._base.duration import Duration
    from lume_async._client import Client
    from lume_async._http.events import (
        Event,
        Hook,
        RequestFinished,
        RequestStarted,
        RetryScheduled,
        RunStatusChanged,
    )
    from lume_async._http.settings import ApiKey, Proxy, Ssl
    from lume_async._many.monitor import Monitor
    from lume_async._many.progress import Progress
    from lume_async._many.summary import Failure, Summary
    from lume_async._run.handle import LumeRun
    from lume_async._run.submit import OnDuplicate
    from lume_async._wire.retry import Retry
    from lume_async.errors import (
        ApiConnectionError,
        ApiError,
        ApiTimeoutError,
        AuthenticationError,
        ClientClosedError,
        ConfigurationError,
        DuplicateRunError,
        InvalidRequestError,
        LumeError,
        RateLimitError,
        ResponseDecodeError,
        RunError,
        RunFailedError,
        RunNotFoundError,
        RunTimeoutError,
        ServerError,
        SubmissionUnknownError,
        WebhookSignatureError,
    )
    from lume_async.models import (
        Metrics,
        Outcome,
        RunEvent,
        RunInfo,
        RunMetadata,
        RunRequest,
        RunStatus,
        Stage,
        TargetLocations,
    )

_HOMES = {
    "_api": (
        "aclose as_completed attach default_client init list_runs monitor progress run run_many run_status "
        "upload_file wait_all wait_for_run_completion watch"
    ),
    "_base.backoff": "Backoff PollInterval",
    "_client": "Client",
    "_http.settings": "ApiKey Proxy Ssl",
    "_base.duration": "Duration",
    "_many.monitor": "Monitor",
    "_http.events": "Event Hook RequestFinished RequestStarted RetryScheduled RunStatusChanged",
    "_many.progress": "Progress",
    "_wire.retry": "Retry",
    "_run.handle": "LumeRun",
    "_run.submit": "OnDuplicate",
    "_many.summary": "Failure Summary",
    "errors": (
        "ApiConnectionError ApiError ApiTimeoutError AuthenticationError ClientClosedError "
        "ConfigurationError DuplicateRunError InvalidRequestError LumeError RateLimitError "
        "ResponseDecodeError RunError RunFailedError RunNotFoundError RunTimeoutError ServerError "
        "SubmissionUnknownError WebhookSignatureError"
    ),
    "models": "Metrics Outcome RunEvent RunInfo RunMetadata RunRequest RunStatus Stage TargetLocations",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "ApiConnectionError",
    "ApiError",
    "ApiKey",
    "ApiTimeoutError",
    "AuthenticationError",
    "Backoff",
    "Client",
    "ClientClosedError",
    "ConfigurationError",
    "DuplicateRunError",
    "Duration",
    "Event",
    "Failure",
    "Hook",
    "InvalidRequestError",
    "LumeError",
    "LumeRun",
    "Metrics",
    "Monitor",
    "OnDuplicate",
    "Outcome",
    "PollInterval",
    "Progress",
    "Proxy",
    "RateLimitError",
    "RequestFinished",
    "RequestStarted",
    "ResponseDecodeError",
    "Retry",
    "RetryScheduled",
    "RunError",
    "RunEvent",
    "RunFailedError",
    "RunInfo",
    "RunMetadata",
    "RunNotFoundError",
    "RunRequest",
    "RunStatus",
    "RunStatusChanged",
    "RunTimeoutError",
    "ServerError",
    "Ssl",
    "Stage",
    "SubmissionUnknownError",
    "Summary",
    "TargetLocations",
    "WebhookSignatureError",
    "__version__",
    "aclose",
    "as_completed",
    "attach",
    "default_client",
    "init",
    "list_runs",
    "monitor",
    "progress",
    "run",
    "run_many",
    "run_status",
    "upload_file",
    "wait_all",
    "wait_for_run_completion",
    "watch",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _find_default_client() -> Any:
    return __getattr__("default_client")()


_default.find_client = _find_default_client
