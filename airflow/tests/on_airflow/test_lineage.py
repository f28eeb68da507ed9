"""OpenLineage datasets and assets of a task that has ended."""

from typing import Any

import pytest
from on_airflow.support import context

from lume_airflow._compat import Asset, AssetAlias
from lume_airflow._lineage import asset_uri, dataset, emit
from lume_airflow.operators import LumeRunBatchOperator, LumeRunOperator


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/data/a.csv", ("file", "/data/a.csv")),
        ("file:///data/a.csv", ("file", "/data/a.csv")),
        ("s3://bucket/x/a.csv", ("s3://bucket", "x/a.csv")),
        ("batch_2026_01", ("lume", "batch_2026_01")),
    ],
)
def test_names_of_datasets(place, expected) -> None:
    assert dataset(place) == expected


def test_a_run_is_reported_with_its_counts(connection, sources) -> None:
    source = sources.partial()
    task = LumeRunOperator(
        task_id="clean", flow_version="customer_cleaner:v1", source_path=source, deferrable=False
    )
    (started,) = task.get_openlineage_facets_on_start().inputs
    assert (started.namespace, started.name) == ("file", source)
    given = context()
    result = task.execute(given)
    lineage = task.get_openlineage_facets_on_complete(given["ti"])
    (read,) = lineage.inputs
    assert read.inputFacets["inputStatistics"].rowCount == 9
    (assertion,) = read.inputFacets["dataQualityAssertions"].assertions
    assert (assertion.success, assertion.actual) == (False, "1")
    assert assertion.assertion in result["reject_reasons"]
    written = {each.name: each.outputFacets["outputStatistics"].rowCount for each in lineage.outputs}
    assert written == {result["mapped_location"]: 8, result["rejects_location"]: 1}
    assert lineage.run_facets["externalQuery"].externalQueryId == result["run_id"]


def test_a_batch_reports_its_places(connection, sources) -> None:
    paths = [sources.good(), sources.partial()]
    task = LumeRunBatchOperator(
        task_id="all", flow_version="customer_cleaner:v1", source_paths=paths, deferrable=False
    )
    given = context()
    result = task.execute(given)
    lineage = task.get_openlineage_facets_on_complete(given["ti"])
    assert [each.name for each in lineage.inputs] == paths
    places = [*result["mapped_locations"], *result["rejects_locations"]]
    assert [each.name for each in lineage.outputs] == places


class Events(dict[Any, Any]):
    """What Airflow hands a task for its outlets."""

    def __missing__(self, outlet: Any) -> Any:
        self[outlet] = Event()
        return self[outlet]


class Event:
    def __init__(self) -> None:
        self.extra: dict[str, Any] = {}
        self.added: list[tuple[str, dict[str, Any]]] = []

    def add(self, asset: Any, extra: dict[str, Any]) -> None:
        self.added.append((asset.uri, extra))


ONE = {
    "run_id": "run_1",
    "mapped_location": "/out/a.parquet",
    "rows_read": 9,
    "rows_mapped": 8,
    "rows_rejected": 1,
}


def test_an_alias_gets_an_asset_for_each_place() -> None:
    events, alias = Events(), AssetAlias("clean")
    emit([alias], {"outlet_events": events}, ONE)
    emit([alias], {"outlet_events": events}, {"mapped_locations": ["s3://b/1", "s3://b/2"]})
    assert [uri for uri, _extra in events[alias].added] == ["file:///out/a.parquet", "s3://b/1", "s3://b/2"]
    assert events[alias].added[0][1]["lume_rows_rejected"] == 1


def test_an_asset_gets_the_counts() -> None:
    events, asset = Events(), Asset("s3://bucket/clean")
    emit([asset], {"outlet_events": events}, ONE)
    assert events[asset].extra["lume_run_id"] == "run_1"


def test_without_outlets_nothing_is_said() -> None:
    emit([], {}, ONE)


def test_paths_become_uris() -> None:
    assert asset_uri("/out/a b.parquet") == "file:///out/a%20b.parquet"
    assert asset_uri("s3://bucket/key") == "s3://bucket/key"
