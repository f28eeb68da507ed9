"""OpenLineage events (https://openlineage.io): what a run read and wrote, its row counts, and why rows were rejected.

They go through the outbox like webhooks: written in the transaction of the change, delivered at least once.
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from attrs import field, frozen
from yarl import URL

from lume_async._base import arguments
from lume_async.errors import ConfigurationError
from lume_async.models import RunStatus
from lume_local._flow.urls import NotAnSftpUrl, NotAStoreUrl, SftpUrl, is_sftp_url, split_store_url
from lume_local._runs.sources.source_files import places_of
from lume_local._runs.store.records import StoredRun

_PRODUCER = "https://pypi.org/project/lume-client/"
_SPEC = "https://openlineage.io/spec/"
_EVENT = f"{_SPEC}2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = {
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "inputStatistics": ("1-0-0", "InputStatisticsInputDatasetFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
    "dataQualityAssertions": ("1-1-0", "DataQualityAssertionsDatasetFacet"),
}
"""Versions and names of the facets."""
_TYPES = {RunStatus.FAILED: "FAIL", RunStatus.CRASHED: "FAIL", RunStatus.CANCELLED: "ABORT"}
_ROWS = {"mapped": "rows_mapped", "rejects": "rows_rejected"}


@frozen
class LineageEvents:
    """The destination of events and the namespace of their jobs. Create it with `of`."""

    url: str
    namespace: str
    key: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str | None, namespace: str, key: str | None) -> "LineageEvents | None":
        """Return the validated settings, or None without a URL. Raises `ConfigurationError`."""
        if not arguments.text(namespace, "lineage_namespace", ConfigurationError).strip():
            raise ConfigurationError("lineage_namespace is empty: name the namespace of this server's jobs")
        if url is None:
            if key is not None:
                raise ConfigurationError("lineage_key needs lineage_url: the URL that receives the events")
            return None
        try:
            arguments.text(url, "lineage_url", ConfigurationError)
            is_url = URL(url).scheme in ("http", "https") and URL(url).host is not None
        except ValueError:
            is_url = False
        if not is_url:
            raise ConfigurationError(
                "lineage_url must be an http:// or https:// URL, such as http://127.0.0.1:5000/api/v1/lineage"
            )
        if key is not None:
            arguments.line(key, "lineage_key", error=ConfigurationError)
        return cls(url, namespace, key)

    @property
    def headers(self) -> dict[str, str]:
        """Additional headers of a lineage request."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    def event(
        self,
        run: StoredRun,
        at: str,
        status: RunStatus | None = None,
        metrics: Mapping[str, Any] = MappingProxyType({}),
        locations: Mapping[str, Any] = MappingProxyType({}),
        message: str | None = None,
    ) -> bytes:
        """Return the event for the start of a run, or for its end with `status`."""
        error = {"errorMessage": _facet("errorMessage", message=message, programmingLanguage="SQL")}
        job_type = _facet("jobType", processingType="BATCH", integration="LUME", jobType="FLOW")
        inputs: list[dict[str, Any]] = [
            # The fallback is a query argument, which may be any string.
            (_file_or_object(place) or {"namespace": self.namespace, "name": f"{run.flow_version}/{place}"})
            | {"inputFacets": {}}
            for place in places_of(run.source_key)
        ]
        inputs[0]["inputFacets"] = _input_facets(metrics)  # the first one carries the counts of all sources
        event = {
            "eventType": "START" if status is None else _TYPES.get(status, "COMPLETE"),
            "eventTime": at,
            "producer": _PRODUCER,
            "schemaURL": _EVENT,
            "run": {
                "runId": str(uuid.UUID(run.run_id.removeprefix("run_"))),
                "facets": error if message else {},
            },
            "job": {
                "namespace": self.namespace,
                "name": run.flow_version,
                "facets": {"jobType": job_type},
            },
            "inputs": inputs,
            "outputs": [
                _output(place)
                | {
                    "outputFacets": {
                        "outputStatistics": _facet("outputStatistics", rowCount=metrics[_ROWS[part]])
                    }
                }
                for part, place in locations.items()
                if place is not None and part in _ROWS
            ],
        }
        return orjson.dumps(event)


def _output(place: str) -> dict[str, Any]:
    """Return a file, an object, or a table by its URL; the worker has removed secrets from the URL."""
    place = place.removeprefix("delta+")
    if place.startswith("file://"):
        place = unquote(urlsplit(place).path)
    if (found := _file_or_object(place)) is not None:
        return found
    url = urlsplit(place)
    namespace = f"{url.scheme}://{url.netloc}" if url.netloc else url.scheme
    return {"namespace": namespace, "name": url.path.lstrip("/")}


def _file_or_object(place: str) -> dict[str, Any] | None:
    """Return a file by its path or an object by its URL, which is not percent-encoded."""
    if place.startswith("/"):
        return {"namespace": "file", "name": place}
    if is_sftp_url(place):
        with suppress(NotAnSftpUrl):
            url = SftpUrl.of(place)
            return {"namespace": url.site, "name": url.path}
    try:
        scheme, bucket, key = split_store_url(place)
    except NotAStoreUrl:
        return None
    return {"namespace": f"{scheme}://{bucket}", "name": key}


def _facet(name: str, **members: Any) -> dict[str, Any]:
    version, kind = _FACETS[name]
    return {
        "_producer": _PRODUCER,
        "_schemaURL": f"{_SPEC}facets/{version}/{kind}.json#/$defs/{kind}",
        **members,
    }


def _input_facets(metrics: Mapping[str, Any]) -> dict[str, Any]:
    if not metrics:
        return {}
    statistics = _facet("inputStatistics", rowCount=metrics["rows_read"])
    if source := metrics.get("source"):
        statistics["size"] = source["bytes"]
    reasons: dict[str, int] = metrics.get("reject_reasons", {})
    columns = metrics.get("columns", {})
    facets = {"inputStatistics": statistics}
    assertions = list[dict[str, Any]]()
    for reason, count in reasons.items():
        column = reason.partition(":")[0]
        assertions.append(
            {
                "assertion": reason,
                "success": False,
                "severity": "warn",
                "expected": "0",
                "actual": str(count),
                **({"column": column} if column in columns else {}),
            }
        )
    if assertions:
        facets["dataQualityAssertions"] = _facet("dataQualityAssertions", assertions=assertions)
    return facets
