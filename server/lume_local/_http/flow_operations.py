"""The operations on flow versions: registered ones, and the next one, proposed from samples."""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from lume_local._flow.definition import NAME, json_schema, read_definition
from lume_local._flow.fields import FlowError
from lume_local._http import queries, requests
from lume_local._http.documents import dry_run_document, flow_item
from lume_local._http.exchange import Ask, Problem, Reply
from lume_local._http.lookup import exists, following_version, require_flow
from lume_local._mapping.decisions import decisions
from lume_local._runs.dry_run import DryRuns
from lume_local._runs.flow_registry import FlowConflict, FlowRegistry
from lume_local._runs.proposals import MOST_OF_A_KEY, WAIT_LIMIT, ProposalRequest, Proposals
from lume_local._runs.sources.paths import PathRefused
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.turns import NoTurn, TooManyWaiting
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import CHECK_PATIENCE
from lume_local._samples.known import KnownSource

if TYPE_CHECKING:
    from lume_local._mapping.target import MappingTarget

MOST_SAMPLES = 20
_TOML = "application/toml"
RETRY = 5
"""Seconds after which to retry a proposal that did not get a turn: most take less."""
_FIELDS = (
    "samples",
    "version",
    "schema",
    "source",
    "sources",
    "choices",
    "inline_lookups",
    "dry_run",
    "dry_run_sample",
    "layout",
)


class FlowsApi:
    def __init__(self, store: SqlStore, flows: FlowRegistry) -> None:
        self._store, self._flows = store, flows

    async def page(self, ask: Ask) -> Reply:
        query = dict(ask.query)
        limit = queries.limit_of(query, 100, 1000)
        after = None
        if "cursor" in query:
            head, _, after = unquote(query["cursor"]).partition("-")
            if head != self._store.store_id:
                raise queries.invalid_cursor("cursor")
        try:
            page, more = self._flows.page(query.get("flow"), after, limit)
        except KeyError:
            raise queries.invalid_cursor("cursor") from None
        runs = await self._store.runs_of([flow.ref for flow in page])
        items = [flow_item(flow, self._flows.parsed(flow.ref), runs.get(flow.ref, 0)) for flow in page]
        following = f"{self._store.store_id}-{page[-1].ref}" if more else None
        return Reply(200, {"items": items, "next_cursor": following})

    async def put(self, ask: Ask) -> Reply:
        ref = _ref(ask)
        if requests.is_any(ask.if_none_match) and self._flows.is_known(ref):
            raise exists(f"there is a flow version {ref}")
        try:
            flow = read_definition(requests.json_object(ask.body, ask.content_type))
            if flow.ref != ref:
                raise FlowError("flow", f"the body describes {flow.ref}, the path {ref}: make them agree")
            is_new = await self._flows.register(flow, by=ask.holder, patience=CHECK_PATIENCE)
        except FlowError as error:
            raise Problem("invalid-flow", str(error), field=error.place) from None
        except WorkerDied as error:
            raise Problem("unavailable", str(error)) from None
        except FlowConflict:
            raise Problem(
                "flow-version-exists",
                f"{ref} exists with other content, and a version never changes: raise its version",
            ) from None
        return await self._answer(ref, 201 if is_new else 200)

    async def get(self, ask: Ask) -> Reply:
        answer = await self._answer(_ref(ask))
        if requests.accepts(ask.headers, _TOML, "application/json"):
            from lume_local._mapping.flow_text import file_text  # few servers write flow files

            known = answer.document
            head = f"{known['flow_version']} as registered at {known['created_at']}, without comments."
            text = file_text(head, known["definition"]).encode()
            answer = Reply(200, text, {"ETag": f'"{known["content_hash"]}.toml"'}, _TOML)
        if ask.if_none_match and requests.matches(ask.if_none_match, answer.headers["ETag"]):
            return Reply(304, None, answer.headers)
        return answer

    async def _answer(self, ref: str, status: int = 200) -> Reply:
        flow = await require_flow(self._flows.require(ref))
        document = {
            "flow_version": flow.ref,
            "content_hash": flow.content_hash,
            "created_at": flow.created_at,
            "definition": flow.definition,
        }
        return Reply(status, document, {"ETag": f'"{flow.content_hash}"'})

    async def schema(self, ask: Ask) -> Reply:
        await require_flow(self._flows.require(_ref(ask)))
        schema = json_schema(self._flows.parsed(_ref(ask)))
        return Reply(200, schema, content_type="application/schema+json")


def _ref(ask: Ask) -> str:
    return f"{ask.path['flow']}:{ask.path['version']}"


class ProposalsApi:
    def __init__(self, store: SqlStore, flows: FlowRegistry, proposals: Proposals, dry_runs: DryRuns) -> None:
        self._store, self._flows, self._proposals, self._dry_runs = store, flows, proposals, dry_runs

    async def make(self, ask: Ask) -> Reply:
        wanted = proposal_body(requests.known_fields(ask.body, ask.content_type, _FIELDS))
        try:
            target = await self._target(ask.path["flow"], wanted)
            base = None if target.base is None else read_definition(target.base)
            headers = (
                {}
                if base is None
                else await self._store.sources.last_headers(base.ref, layouts=len(base.layouts))
            )
            uris = () if base is None else base.source.uris
            made = await self._proposals.make(target, wanted, headers, uris, by=ask.holder)
            tried = None
            if wanted.dry_run:
                flow, sample = read_definition(made["definition"]), wanted.samples[wanted.tried]
                done = await self._dry_runs.do(
                    flow, sample, None, requests.DRY_ROWS, by=ask.holder, is_draft=True
                )
                tried = dry_run_document(done)
            return Reply(200, {**made, "dry_run": tried})
        except TooManyWaiting:
            raise Problem(
                "too-many-proposals",
                f"{MOST_OF_A_KEY} proposals of {ask.holder!r} are being made or wait for their turn, and no key may "
                f"have more: try again in {RETRY} s",
                retry_after=RETRY,
            ) from None
        except NoTurn:
            raise Problem(
                "unavailable",
                f"the proposals of other keys took longer than {WAIT_LIMIT:g} s: try again in {RETRY} s",
                retry_after=RETRY,
            ) from None
        except PathRefused as error:
            raise Problem("source-not-allowed", f"samples: {error}", field="samples") from None
        except FlowError as error:
            place = "schema" if error.place == "target" else error.place
            raise requests.field_problem(place, error.problem) from None
        except ModuleNotFoundError as error:
            raise Problem("not-supported", str(error)) from None
        except WorkerDied as error:
            raise Problem("unavailable", f"the proposal could not be made: {error}") from None

    async def _target(self, flow: str, wanted: ProposalRequest) -> "MappingTarget":
        from lume_local._mapping.target import of_flow, of_schema  # few servers propose

        if not NAME.fullmatch(flow):
            raise Problem("flow-version-not-found", f"{flow!r} is not a name of a flow")
        known = self._flows.all(flow)
        following = following_version(self._flows, flow) if known else None
        if wanted.schema is not None:
            return of_schema(wanted.schema, flow, following or "v1", "the schema")
        version = wanted.version or (known[-1].ref.partition(":")[2] if known else "v1")
        await require_flow(self._flows.require(f"{flow}:{version}"))
        return of_flow(self._flows.parsed(f"{flow}:{version}"), following)


def proposal_body(given: dict[str, Any]) -> ProposalRequest:
    """Return the body of the request. Raises `Problem`."""
    samples = given.get("samples")
    if not isinstance(samples, list) or not 1 <= len(samples) <= MOST_SAMPLES:
        raise requests.field_problem("samples", f"must be a list of 1 to {MOST_SAMPLES} source paths")
    schema, source = (_object(given, name) for name in ("schema", "source"))
    version = requests.optional_line(given, "version")
    if schema is not None and version is not None:
        raise requests.field_problem("version", "has no meaning with a schema: remove one of the two")
    paths = [requests.line({"source_path": one}, "source_path") for one in samples]
    choices = _object(given, "choices") or {}
    try:
        decisions(choices)
    except FlowError as error:
        raise requests.field_problem("choices", error.problem) from None
    inline, dry_run = requests.flag(given, "inline_lookups"), requests.flag(given, "dry_run")
    if dry_run and not inline:
        raise requests.field_problem("dry_run", "needs inline_lookups: seed files are not there yet")
    tried = given.get("dry_run_sample", 0)
    if type(tried) is not int or not 0 <= tried < len(paths):
        raise requests.field_problem("dry_run_sample", "must be a place in samples, the first of which is 0")
    layout = requests.optional_line(given, "layout") or ""
    if layout and not NAME.fullmatch(layout):
        raise requests.field_problem(
            "layout", f"{layout!r} can't name a layout: use letters, digits, _ and -"
        )
    known = _known(given, len(paths))
    return ProposalRequest(paths, version, schema, source, known, choices, inline, dry_run, tried, layout)


def _known(given: dict[str, Any], samples: int) -> list[dict[str, Any] | None]:
    """Return what is known of each sample's source. Raises `Problem`."""
    sources = given.get("sources") or []
    if not isinstance(sources, list) or len(sources) not in (0, samples):
        raise requests.field_problem("sources", "must be a list with an object or null for each sample")
    if sources and given.get("source") is not None:
        raise requests.field_problem("sources", "has no meaning with source: remove one of the two")
    known = [_object({f"sources[{n}]": one}, f"sources[{n}]") for n, one in enumerate(sources)]
    for n, one in enumerate(known):
        try:
            KnownSource.of(one or {}, f"sources[{n}]")
        except FlowError as error:
            raise requests.field_problem(error.place, error.problem) from None
    return known


def _object(given: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise requests.field_problem(name, "must be an object")
    try:
        orjson.dumps(value)  # as it is sent to a worker
    except TypeError as error:  # a number of more than 64 bits, or values nested too deeply
        raise requests.field_problem(name, f"can't be used: {error}") from None
    return value
