"""What a task has read and written: Airflow's assets, and datasets of OpenLineage with counts and data quality.

A task's result is kept in memory for the listener: a listener that asks Airflow for an XCom hangs.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from lume_airflow._compat import Asset, AssetAlias, Context
from lume_airflow._connection import ConnectionSettings
from lume_airflow._options import OperatorOptions


def emit(outlets: Iterable[Any], context: Context, result: dict[str, Any]) -> None:
    """Report the updated assets; an `AssetAlias` gets an asset per location. All get the counts as their extra."""
    events = context.get("outlet_events") if outlets else None
    if events is None:
        return
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            for place in places(result):
                events[outlet].add(Asset(asset_uri(place)), extra=_extra(result))
        elif isinstance(outlet, Asset):
            events[outlet].extra.update(_extra(result))


def places(result: dict[str, Any]) -> list[str]:
    """Return the locations of the mapped rows."""
    several: list[str] | None = result.get("mapped_locations")
    if several is not None:
        return several
    return [result["mapped_location"]] if result["mapped_location"] else []


def asset_uri(place: str) -> str:
    """Return the URI of a location, which may be a path."""
    return place if "://" in place else PurePosixPath("/", place).as_uri()


def _extra(result: dict[str, Any]) -> dict[str, Any]:
    kept = ("run_id", "rows_read", "rows_mapped", "rows_rejected")
    return {f"lume_{name}": result[name] for name in kept if name in result}


class TaskLineage:
    """The sources and outputs of a task."""

    def __init__(self) -> None:
        self._result: dict[str, Any] | None = None
        self._service = ""

    def note(self, options: OperatorOptions, settings: ConnectionSettings, result: dict[str, Any]) -> None:
        self._result, self._service = result, settings.base_url

    def on_start(self, options: OperatorOptions) -> Any:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset

        return OperatorLineage(inputs=[InputDataset(*dataset(source)) for source in sources(options)])

    def on_end(self, options: OperatorOptions) -> Any:
        """Return the sources and outputs, with their counts."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.facet_v2 import external_query_run

        result = self._result
        if result is None:
            return self.on_start(options)
        facets: dict[str, Any] = {}
        if "run_id" in result:
            facets["externalQuery"] = external_query_run.ExternalQueryRunFacet(
                externalQueryId=result["run_id"], source=self._service
            )
        return OperatorLineage(inputs=_inputs(options, result), outputs=_outputs(result), run_facets=facets)


def sources(options: OperatorOptions) -> list[str]:
    several: list[str] | None = getattr(options, "source_paths", None)
    return [options.source_path] if several is None else several  # type: ignore[attr-defined]


def dataset(place: str) -> tuple[str, str]:
    """Return the namespace and name in OpenLineage: bucket and key, file system and path, or an identifier."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return "file", parts.path
    if "://" in place:
        return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/") or "/"
    if place.startswith("/"):
        return "file", str(PurePosixPath(place))
    return "lume", place


def _inputs(options: OperatorOptions, result: dict[str, Any]) -> list[Any]:
    from openlineage.client.event_v2 import InputDataset

    if "run_id" not in result:  # a batch, whose counts are not per source
        return [InputDataset(*dataset(source)) for source in sources(options)]
    namespace, name = dataset(result["source_path"])
    return [InputDataset(namespace, name, inputFacets=_quality(result))]


def _quality(result: dict[str, Any]) -> dict[str, Any]:
    from openlineage.client.facet_v2 import data_quality_assertions_dataset, input_statistics_input_dataset

    assertions = [
        data_quality_assertions_dataset.Assertion(assertion=reason, success=False, actual=str(rows))
        for reason, rows in result["reject_reasons"].items()
    ]
    return {
        "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            rowCount=result["rows_read"]
        ),
        "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions
        ),
    }


def _outputs(result: dict[str, Any]) -> list[Any]:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    if "run_id" not in result:
        places = [*result["mapped_locations"], *result["rejects_locations"]]
        return [OutputDataset(*dataset(place)) for place in places]
    counted = [
        (result["mapped_location"], result["rows_mapped"]),
        (result["rejects_location"], result["rows_rejected"]),
    ]
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    return [
        OutputDataset(*dataset(place), outputFacets={"outputStatistics": statistics(rowCount=rows)})
        for place, rows in counted
        if place
    ]
