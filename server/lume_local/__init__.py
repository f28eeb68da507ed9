"""An embedded Lume server that really runs flows: on DuckDB, in worker processes, with its state in SQLite.

`async with serve() as server:` runs it in your event loop, `with serve_in_thread() as server:` beside
synchronous code; `await check_flow(path)` checks a flow file as the server would. All import their dependencies on
first use, so that `import lume_local` stays cheap.
"""

TYPE_CHECKING = False  # importing `typing` would take longer than this whole module

if TYPE_CHECKING:
    from lume_local._flow.fields import FlowError as FlowError
    from lume_local._mapping.evidence import Grade as Grade
    from lume_local._mapping.proposal import ProposedFlow as ProposedFlow
    from lume_local._samples.opening import JudgedColumn as JudgedColumn
    from lume_local._samples.opening import SampleFile as SampleFile
    from lume_local._samples.opening import SampleParts as SampleParts
    from lume_local._samples.opening import SampleRows as SampleRows
    from lume_local._samples.opening import open_sample as open_sample
    from lume_local._serve.backup import Backup as Backup
    from lume_local._serve.backup import back_up as back_up
    from lume_local._serve.backup import restore as restore
    from lume_local._serve.options import ServerOptions as ServerOptions
    from lume_local._serve.serve import Server as Server
    from lume_local._serve.serve import ThreadedServer as ThreadedServer
    from lume_local._serve.serve import serve as serve
    from lume_local._serve.serve import serve_in_thread as serve_in_thread
    from lume_local._trials.checks import CheckedArrival as CheckedArrival
    from lume_local._trials.checks import CheckedFlow as CheckedFlow
    from lume_local._trials.checks import CheckedMessage as CheckedMessage
    from lume_local._trials.checks import TriedAddress as TriedAddress
    from lume_local._trials.checks import check_arrivals as check_arrivals
    from lume_local._trials.checks import check_flow as check_flow
    from lume_local._trials.checks import check_messages as check_messages
    from lume_local._trials.checks import try_messages as try_messages
    from lume_local._trials.clean import CleanResult as CleanResult
    from lume_local._trials.clean import clean as clean
    from lume_local._trials.ddl import table_ddl as table_ddl
    from lume_local._trials.propose import propose as propose
    from lume_local._trials.tries import Trial as Trial
    from lume_local._trials.tries import TriedFlow as TriedFlow
    from lume_local._trials.tries import open_trial as open_trial
    from lume_local._worker.samples.read import sample_parts as sample_parts
    from lume_local._worker.samples.read import unpack_member as unpack_member
else:
    from lume_async._base.lazy import lazily as _lazily
    from lume_local._exports import NAMES as _NAMES

    def _check(name: str) -> None:
        from lume_async._base.platform import IS_POSIX
        from lume_local._shared.failing import require

        if not (IS_POSIX or name in ("FlowError", "ServerOptions", "table_ddl")):
            raise ImportError(
                "the embedded server needs Linux or macOS (WSL, Docker); so do `lume clean` and `lume flow check`, "
                "`init` and `try`, which use its engine",
                name=__name__,
            )
        require("duckdb", "", "lume_local")

    __all__, __getattr__, __dir__ = _lazily(__name__, _NAMES, check=_check)
