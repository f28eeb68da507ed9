"""An asynchronous client for Lume: run data transformations, wait for them, monitor thousands.

Names are loaded on first use: importing the package loads neither aiohttp nor cattrs.
"""

TYPE_CHECKING = False  # importing `typing` would take longer than this whole module

if TYPE_CHECKING:
    from lume_async._api import aclose as aclose
    from lume_async._api import as_completed as as_completed
    from lume_async._api import attach as attach
    from lume_async._api import default_client as default_client
    from lume_async._api import dry_run as dry_run
    from lume_async._api import flow_version as flow_version
    from lume_async._api import init as init
    from lume_async._api import list_flows as list_flows
    from lume_async._api import list_runs as list_runs
    from lume_async._api import monitor as monitor
    from lume_async._api import progress as progress
    from lume_async._api import register_flow as register_flow
    from lume_async._api import run as run
    from lume_async._api import run_many as run_many
    from lume_async._api import run_status as run_status
    from lume_async._api import statistics as statistics
    from lume_async._api import upload as upload
    from lume_async._api import upload_file as upload_file
    from lume_async._api import wait_all as wait_all
    from lume_async._api import wait_for_run_completion as wait_for_run_completion
    from lume_async._api import watch as watch
    from lume_async._base.backoff import Backoff as Backoff
    from lume_async._base.backoff import PollInterval as PollInterval
    from lume_async._base.duration import Duration as Duration
    from lume_async._base.version import __version__ as __version__
    from lume_async._client import Client as Client
    from lume_async._http.events import Event as Event
    from lume_async._http.events import Hook as Hook
    from lume_async._http.events import RequestFinished as RequestFinished
    from lume_async._http.events import RequestStarted as RequestStarted
    from lume_async._http.events import RetryScheduled as RetryScheduled
    from lume_async._http.events import RunStatusChanged as RunStatusChanged
    from lume_async._http.settings import ApiKey as ApiKey
    from lume_async._http.settings import Proxy as Proxy
    from lume_async._http.settings import Ssl as Ssl
    from lume_async._many.monitor import Monitor as Monitor
    from lume_async._many.progress import Progress as Progress
    from lume_async._many.summary import Failure as Failure
    from lume_async._many.summary import Summary as Summary
    from lume_async._run.handle import LumeRun as LumeRun
    from lume_async._run.rows import Rows as Rows
    from lume_async._run.submit import OnDuplicate as OnDuplicate
    from lume_async._run.transfer import OnProgress as OnProgress
    from lume_async._run.transfer import SourceData as SourceData
    from lume_async._wire.flow_models import FlowColumn as FlowColumn
    from lume_async._wire.flow_models import FlowRule as FlowRule
    from lume_async._wire.flow_models import FlowSummary as FlowSummary
    from lume_async._wire.flow_models import FlowVersion as FlowVersion
    from lume_async._wire.report_models import CountedBy as CountedBy
    from lume_async._wire.report_models import CountOrder as CountOrder
    from lume_async._wire.report_models import Delivery as Delivery
    from lume_async._wire.report_models import DryRun as DryRun
    from lume_async._wire.report_models import RunCount as RunCount
    from lume_async._wire.retry import Retry as Retry
    from lume_async._wire.row_endpoints import Part as Part
    from lume_async.errors import ApiConnectionError as ApiConnectionError
    from lume_async.errors import ApiError as ApiError
    from lume_async.errors import ApiTimeoutError as ApiTimeoutError
    from lume_async.errors import AuthenticationError as AuthenticationError
    from lume_async.errors import ClientClosedError as ClientClosedError
    from lume_async.errors import ConfigurationError as ConfigurationError
    from lume_async.errors import DuplicateRunError as DuplicateRunError
    from lume_async.errors import InvalidRequestError as InvalidRequestError
    from lume_async.errors import JournalError as JournalError
    from lume_async.errors import LumeError as LumeError
    from lume_async.errors import MissingLibraryError as MissingLibraryError
    from lume_async.errors import NotSupportedError as NotSupportedError
    from lume_async.errors import RateLimitError as RateLimitError
    from lume_async.errors import ResponseDecodeError as ResponseDecodeError
    from lume_async.errors import RunError as RunError
    from lume_async.errors import RunFailedError as RunFailedError
    from lume_async.errors import RunNotFoundError as RunNotFoundError
    from lume_async.errors import RunTimeoutError as RunTimeoutError
    from lume_async.errors import ServerError as ServerError
    from lume_async.errors import SubmissionUnknownError as SubmissionUnknownError
    from lume_async.errors import WebhookSignatureError as WebhookSignatureError
    from lume_async.models import ColumnMetrics as ColumnMetrics
    from lume_async.models import FileMetrics as FileMetrics
    from lume_async.models import Metrics as Metrics
    from lume_async.models import Outcome as Outcome
    from lume_async.models import RunEvent as RunEvent
    from lume_async.models import RunInfo as RunInfo
    from lume_async.models import RunMetadata as RunMetadata
    from lume_async.models import RunRequest as RunRequest
    from lume_async.models import RunStatus as RunStatus
    from lume_async.models import SeedMetrics as SeedMetrics
    from lume_async.models import SourceMetrics as SourceMetrics
    from lume_async.models import Stage as Stage
    from lume_async.models import TargetLocations as TargetLocations
else:
    from lume_async._base.lazy import lazily as _lazily
    from lume_async._exports import NAMES as _NAMES

    __all__, __getattr__, __dir__ = _lazily(__name__, _NAMES)
