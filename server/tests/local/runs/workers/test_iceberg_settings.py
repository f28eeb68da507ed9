"""The settings of Iceberg catalogs in a worker's environment."""

import pytest

from lume_local._runs.workers.child import environment, lent
from lume_local._runs.workers.worker import _databases
from lume_local._shared.protocol import Execute, Finish

URI = "PYICEBERG_CATALOG__{}__URI"
PASSWORD = "postgresql+psycopg2://loader:s3cret@db.example.org/lake"


def test_a_catalog_s_address_is_lent_to_its_runs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROD", "OTHER"):
        monkeypatch.setenv(URI.format(name), PASSWORD)
    monkeypatch.setenv("PYICEBERG_CATALOG__PROD__WAREHOUSE", "s3://lake/warehouse")
    given = environment()
    assert not {URI.format("PROD"), URI.format("OTHER")} & given.keys()
    assert given["PYICEBERG_CATALOG__PROD__WAREHOUSE"] == "s3://lake/warehouse"
    file = {"kind": "file", "path": "/x"}
    table = {"kind": "iceberg", "catalog": "prod", "table": "s.t"}
    for mapped, rejects in ((table, None), (file, table)):
        job = Execute("run_1", {}, file, "/run", mapped, file, 10**9, 2, rejects_table=rejects)
        assert lent(_databases(job)) == {URI.format("PROD"): PASSWORD}
    assert lent(_databases(Execute("run_1", {}, file, "/run", file, file, 10**9, 2))) == {}
    assert lent(_databases(Finish("/run"))).keys() >= {URI.format("PROD"), URI.format("OTHER")}
