"""The module-level functions: the operations of `Client` on a default client."""

from collections.abc import AsyncIterable, Iterable
from typing import Unpack

from lume_async._base.arguments import check_names
from lume_async._base.batched import Items
from lume_async._base.default_client import as_function
from lume_async._base.duration import Duration
from lume_async._base.secret import veiled, veiled_headers
from lume_async._client import Client, ClientOptions
from lume_async._http.settings import ApiKey
from lume_async._many import progress as _progress
from lume_async._many.progress import Progress
from lume_async.models import Outcome

# A dict operation is atomic, so there is no lock that a fork could leave locked.
_default: dict[str, Client] = {}


def default_client() -> Client:
    """Return the client of the module-level functions; created from the environment on first use.

    Raises:
        ConfigurationError: `init()` was not called and the environment lacks the API key or the base URL.

    Examples:
        >>> print(lume_async.default_client().base_url)
    """
    client = _default.get("client")
    return _default.setdefault("client", Client()) if client is None else client


def init(
    api_key: ApiKey | None = None, *, base_url: str | None = None, **client_options: Unpack[ClientOptions]
) -> None:
    """Configure the default client. Never blocks.

    It takes the arguments of `Client`. A previous default client stays open for the run handles that it created.

    Raises:
        ConfigurationError: a setting is missing or not valid; the message names the argument and the variable.

    Examples:
        >>> lume_async.init(request_timeout=30, max_connections=20)
    """
    api_key, base_url = veiled(api_key), veiled(base_url)
    check_names("init", client_options, ClientOptions.__annotations__, "api_key", "base_url")
    client_options["proxy"] = veiled(client_options.get("proxy"))
    client_options["token"] = veiled(client_options.get("token"))
    client_options["headers"] = veiled_headers(client_options.get("headers"))
    _default["client"] = Client(api_key, base_url=base_url, **client_options)


run = as_function(Client.run, default_client)
"""Start a run and return at once; see `Client.run`."""
run_status = as_function(Client.run_status, default_client)
"""Get the current state of a run; see `Client.run_status`."""
attach = as_function(Client.attach, default_client)
"""Return a handle on an existing run, without a request; see `Client.attach`."""
wait_for_run_completion = as_function(Client.wait_for_run_completion, default_client)
"""Poll a run until it has ended, with delays that double; see `Client.wait_for_run_completion`."""
watch = as_function(Client.watch, default_client)
"""Follow a run: yield a snapshot at once and at every change of its status; see `Client.watch`."""
as_completed = as_function(Client.as_completed, default_client)
"""Yield one `Outcome` per run (or ID), in completion order; see `Client.as_completed`."""
wait_all = as_function(Client.wait_all, default_client)
"""Return one `Outcome` per run (or ID), in the order of `runs`; see `Client.wait_all`."""
run_many = as_function(Client.run_many, default_client)
"""Submit requests with bounded concurrency; yield one `Outcome` each; see `Client.run_many`."""
monitor = as_function(Client.monitor, default_client)
"""Watch any number of runs continuously; see `Client.monitor`."""
list_runs = as_function(Client.list_runs, default_client)
"""Yield the runs that match, newest first; see `Client.list_runs`."""
dry_run = as_function(Client.dry_run, default_client)
"""Execute a run without publishing anything; see `Client.dry_run`."""
statistics = as_function(Client.statistics, default_client)
"""Count runs and their rows; see `Client.statistics`."""
arrivals = as_function(Client.arrivals, default_client)
"""Report what arrives at the server; see `Client.arrivals`."""
forget = as_function(Client.forget, default_client)
"""Remove the rows of a person, or count them; see `Client.forget`."""
retry_arrivals = as_function(Client.retry_arrivals, default_client)
"""Take files again that have failed or were refused; see `Client.retry_arrivals`."""
audit = as_function(Client.audit, default_client)
"""Yield who did what at the server and when; see `Client.audit`."""
inbox = as_function(Client.inbox, default_client)
"""Count the open rejected rows of all runs; see `Client.inbox`."""
open_rejects = as_function(Client.open_rejects, default_client)
"""Yield rejected rows of many runs; see `Client.open_rejects`."""
assign_rejects = as_function(Client.assign_rejects, default_client)
"""Note who works on open rejected rows, and a comment; see `Client.assign_rejects`."""
discard_rejects = as_function(Client.discard_rejects, default_client)
"""Note that nothing is left to do about open rejected rows; see `Client.discard_rejects`."""
replay = as_function(Client.replay, default_client)
"""Send open rejected rows of a flow through one of its versions; see `Client.replay`."""
register_flow = as_function(Client.register_flow, default_client)
"""Register a flow version from a file, its text, or a dict; see `Client.register_flow`."""
flow_version = as_function(Client.flow_version, default_client)
"""Get a flow version as it was registered; see `Client.flow_version`."""
propose = as_function(Client.propose, default_client)
"""Propose how samples become rows of a target; see `Client.propose`."""
table = as_function(Client.table, default_client)
"""Return the current clean rows of a flow, each once; see `Client.table`."""
list_flows = as_function(Client.list_flows, default_client)
"""Yield the registered flow versions; see `Client.list_flows`."""
upload = as_function(Client.upload, default_client)
"""Send data of this program to the server's staging area; see `Client.upload`."""
upload_file = as_function(Client.upload_file, default_client)
"""Stream a local file to the server's staging area (beta); see `Client.upload_file`."""


def progress(
    outcomes: Iterable[Outcome[object]] | AsyncIterable[Outcome[object]],
    *,
    total: int | None = None,
    every: Duration = 1.0,
) -> Items[Progress]:
    """Yield snapshots of the progress of many runs: one at once, one every `every` seconds, and one at the end.

    It consumes the outcomes, so don't read them elsewhere; `Progress.summary` counts them. Leaving this iteration
    also ends theirs.

    Args:
        outcomes: the result of `run_many` or `as_completed`.
        total: the number of outcomes to expect, for the estimate of the remaining time.
        every: seconds (or a `timedelta`) between two snapshots.

    Raises:
        ValueError: an argument is not valid.
        Exception: an exception that reading the outcomes raised, after a snapshot with those before it.

    Examples:
        >>> async for state in lume_async.progress(client.as_completed(runs), total=len(runs)):
        ...     print(state)
    """
    return _progress.progress(outcomes, total=total, every=every)


async def aclose() -> None:
    """Close the default client; the next call creates a new one from the environment.

    Examples:
        >>> await lume_async.aclose()
    """
    client = _default.pop("client", None)
    if client is not None:
        await client.aclose()
