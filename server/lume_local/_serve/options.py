"""`ServerOptions`: the options of a server besides the parameters of `serve`, each with its type and meaning.

`serve`, `serve_in_thread`, the command line and the reference take the options from here; `settings` has their
defaults and checks.
"""

from collections.abc import Sequence
from datetime import timedelta
from os import PathLike
from typing import TypedDict

AnyPath = str | PathLike[str]


class ServerOptions(TypedDict, total=False):
    """Further options of `serve` and `serve_in_thread`, for programs that pass them on (`Unpack[ServerOptions]`)."""

    state: AnyPath | None
    """The folder for the state, by default `data`/state. It belongs on a local disk or block storage: on a network
    file system SQLite may damage it."""
    work: AnyPath | None
    """The folder that a cluster shares, by default `data`: the folders of active runs, uploads, and targets below
    `{data}`. With it, `data` has the state only."""

    keys: AnyPath | None
    """A file of further keys, each with a role: `read`, `submit` or `admin`; `lume key new` writes it. It can also
    give roles to tokens of an OpenID Connect issuer. It is reread when it changes. `api_key` may do everything."""
    tls_cert: AnyPath | None
    """The file of a PEM certificate with its chain; with `tls_key` the server uses HTTPS, by default plain HTTP. Both
    files are reread when they are renewed."""
    tls_key: AnyPath | None
    """The file of the PEM private key of `tls_cert`, unencrypted."""
    dev: bool
    """Whether a flow version changes with its file even after it has run. Such a server is for writing flows: every
    run of it says in its metadata (`notes`) with which content it was started."""
    console_hosts: Sequence[str]
    """The names that browsers may open the console by, besides `host`, `localhost`, IP addresses and the name of
    this machine; for example the name of a proxy in front."""

    arrivals: AnyPath | None
    """A file of arrivals: folders, buckets and SFTP servers to watch, and the flow to submit their files to, each
    once. It is reread when it changes. See the guide "Process files as they arrive"."""

    state_env: str | None
    """The environment variable that holds the URL of a PostgreSQL for the state, such as
    `postgresql://lume:…@db/lume`; by default the state is a file in `data`. If several servers share a state, one
    works, and the others wait for it: they have the same `data`, on a shared file system."""
    run_timeout: float | timedelta | None
    """The time limit of a run, by default a day: seconds or a timedelta, None for no limit. A run that takes longer
    is FAILED."""
    drain: float | timedelta | None
    """How long active runs may take to end when the server is ended: seconds or a timedelta. Runs left then
    are CREATED again, and the next server executes them. By default None: active runs are stopped and CRASHED."""
    engine: str | None
    """The engine that spreads a run over shards of its source: `pool` for the cores of this machine, `pool://4` for
    4 processes, or a cluster: `dask://host:8786`, `spark://host:7077`, `sc://host:15002` (Spark Connect),
    `ray://host:10001`; by default one worker executes a whole run. The result of a run is the same."""
    shard_bytes: int
    """The approximate size of a shard in bytes. A source that is not larger is executed by one worker, or is one
    task of the cluster."""

    max_upload_bytes: int
    """The maximum size of one upload, by default 10 GiB. Uploads are stored in `work`/uploads."""
    uploads_quota: int | None
    """The maximum size of all uploads together, in bytes; by default none."""
    keep: float | timedelta | None
    """How long idempotency keys, the change feed and settled webhook deliveries are kept, by default 30 days:
    seconds or a timedelta, None for ever. Older ones are dropped at the start and daily: a request that is
    repeated later counts as a new one."""
    keep_runs: float | timedelta | None
    """How long runs are kept after their end, by default for ever, else a day or longer: seconds or a timedelta. The
    last run with output of each source stays in a compact form, so that the source counts as processed. A run
    with open rejected rows stays unchanged."""
    archive: AnyPath | None
    """The folder for Parquet files of the runs that `keep_runs` removes or makes compact; by default none."""
    keep_audit: float | timedelta | None
    """How long the audit is kept (who cancelled, discarded, registered …), by default 400 days and at least 90:
    seconds or a timedelta, None for ever. Older entries are removed daily, the oldest first."""
    keep_uploads: float | timedelta | None
    """How long uploads are kept, by default for ever. An upload that an unfinished run reads is not removed."""
    keep_output: float | timedelta | None
    """How long the output files of runs are kept, by default for ever. Their runs stay, and their sources
    count as processed."""

    webhook_secret: str | bytes | Sequence[str | bytes] | None
    """The secret that signs deliveries, for `lume_async.webhooks`; two during a rotation: the first signs
    `X-Lume-Signature-256`. Without one, requests that name a `webhook_url` are refused. The end of a run is
    delivered at least once: 12 attempts in 68 minutes, 2 s, 4 s, 8 s … apart, even after a restart."""
    webhook_hosts: Sequence[str]
    """The hosts that a `webhook_url` may name, by default none: `host` or `host:port`, compared literally. This
    machine needs its port (`127.0.0.1:9000`). A name may lead to this machine or to a private network only if the
    address is listed, too. Redirects are not followed."""

    messages: AnyPath | None
    """A file with `[[message]]` tables: which ends of runs are reported to whom, by mail, Slack, PagerDuty and a
    hundred other services (extra `messages`). It is reread when it changes; default: the file of the arrivals."""
    public_url: str | None
    """The address by which people open the console, for the links in messages; by default the server's own."""

    lineage_url: str | None
    """The URL that receives OpenLineage events for the start and the end of each run, delivered like webhooks; by
    default none."""
    lineage_key: str | None
    """The key for that URL, sent as `Authorization: Bearer`."""
    lineage_namespace: str
    """The namespace of the jobs in those events; by default `lume`."""
