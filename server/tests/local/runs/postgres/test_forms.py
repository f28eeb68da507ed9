"""Forms of the state in PostgreSQL: earlier ones are brought to the present one, all others are left alone."""

import json
from pathlib import Path

import pytest
from local import stores
from local.runs.postgres.support import NEW, execute
from local.states import moved

from lume_local._runs.postgres import postgres_state
from lume_local._runs.postgres.postgres_sql import connect
from lume_local._runs.sql import schemas
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.store.records import Cursor, RunFilter, StoreError


async def test_a_newer_state_is_refused_with_both_versions(url: str) -> None:
    execute(url, f"UPDATE lume.facts SET value = '{VERSION + 1}' WHERE name = 'form'")
    execute(url, "UPDATE lume.facts SET value = '9.9.9' WHERE name = 'written_by'")
    with pytest.raises(
        StoreError, match=rf"lume-client 9\.9\.9, in form {VERSION + 1} .* uses form {VERSION}"
    ):
        async with stores.at(url):
            pass


FORM_2 = Path(__file__).parents[1] / "store/states/postgresql-form-2.sql"


def content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """The rows of all tables, without what a start of a server changes."""
    tables = execute(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'lume' ORDER BY 1")
    found = {str(name): sorted(execute(url, f"TABLE lume.{name}"), key=repr) for (name,) in tables}
    del found["lease"]
    found["facts"] = [row for row in found["facts"] if row[0] == "store_id"]
    return found


@pytest.mark.parametrize("form", [2, 3])
async def test_nothing_of_a_state_of_an_earlier_form_is_lost(
    form: int, new_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = new_url
    execute(url, FORM_2.read_text())  # form 3 has the same tables
    execute(url, f"UPDATE lume.facts SET value = '{form}' WHERE name = 'form'")
    before = content(url)
    async with stores.at(url) as store:
        runs = await store.runs(RunFilter(), None, 10)
        assert [run.status for run in runs[:3]] == ["CREATED", "TRANSFORMING", "PARTIAL_FAILED"]
        assert await store.run_of_key("order-4") == runs[0].run_id
        assert await store.deliveries.pending() == 2
        inbox = await store.ledger.inbox("people", "2026-01-01")
        assert {one.reason: one.open for one in inbox} == {None: 3, "id: is not a valid integer": 3}
        assert await store.arrivals.counts("acme") == (2, 0)
    after = content(url)
    assert after.pop("layout_counts") == []
    assert [row[-1] for row in after["runs"]] == [None] * len(before["runs"])  # `layout`
    assert after | {"runs": [row[:-1] for row in after["runs"]]} == before
    assert f"is now in form {VERSION}, it was in form {form}" in caplog.text
    caplog.clear()
    async with stores.at(url):
        assert caplog.text == ""


async def test_another_schema_than_that_of_an_earlier_form_is_refused(new_url: str) -> None:
    """A build between two releases has written it."""
    execute(new_url, FORM_2.read_text())
    execute(new_url, "ALTER TABLE lume.runs ADD COLUMN tenant TEXT")
    before = content(new_url)
    with pytest.raises(StoreError, match=r"^it is in form 2 of the state, with other tables than .*0\.1\.0"):
        async with stores.at(new_url):
            pass
    assert content(new_url) == before
    assert execute(new_url, "SELECT value FROM lume.facts WHERE name = 'form'") == [("2",)]


async def test_another_schema_than_that_of_the_present_form_is_refused(new_url: str) -> None:
    """Somebody has changed it."""
    async with stores.at(new_url):
        pass
    ((noted,),) = execute(new_url, "SELECT value FROM lume.facts WHERE name = 'schema'")
    assert schemas.fingerprint(json.loads(str(noted))) == schemas.FINGERPRINTS["postgresql", VERSION]
    execute(new_url, "DROP INDEX lume.by_source")
    with pytest.raises(StoreError, match=r"^it has another schema than .* was removed.* Undo that"):
        async with stores.at(new_url):
            pass


CHANGES = (
    b"ALTER TABLE lume.runs ADD COLUMN tenant TEXT",
    b"DROP TRIGGER run_ended ON lume.runs",
    b"ALTER TABLE lume.runs DISABLE TRIGGER run_ended",
    b"ALTER TABLE lume.runs ALTER flow_version SET STATISTICS -1",
    b"CREATE OR REPLACE FUNCTION lume.run_ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    b"ALTER TABLE lume.runs DROP CONSTRAINT runs_status_check",
    b"DROP INDEX lume.one_success; CREATE INDEX one_success ON lume.runs (flow_version, source_key)",
)


async def test_each_change_of_a_schema_is_seen(url: str) -> None:
    async with await connect(url) as connection:
        whole = await postgres_state._parts(connection)
        for change in CHANGES:
            async with connection.transaction(force_rollback=True):
                await connection.execute(change, prepare=False)
                assert await postgres_state._parts(connection) != whole, change
        assert await postgres_state._parts(connection) == whole


async def test_a_database_that_counts_its_transactions_anew_loses_no_change(url: str) -> None:
    """As after a dump was restored elsewhere."""
    async with stores.at(url) as store:
        run, _ = await store.create(NEW)
        before = await store.newest()
    execute(url, "UPDATE lume.changes SET xid = xid + 100000000")
    seen = Cursor(before.transaction + 100_000_000, before.seq)
    for status in ("SYNCING_SOURCE", "TRANSFORMING"):
        async with stores.at(url) as store:
            await moved(store, run.run_id, status)
            changes, seen = await store.changes(seen, 10)
            assert [change.status for change in changes] == [status]


async def test_what_is_in_the_schema_may_be_no_state(new_url: str) -> None:
    execute(new_url, "CREATE SCHEMA lume")
    execute(new_url, "CREATE TABLE lume.facts (name TEXT PRIMARY KEY, value TEXT)")
    for change in ("", "INSERT INTO lume.facts VALUES ('form', 'none')", "UPDATE lume.facts SET value = '1'"):
        execute(new_url, change)
        with pytest.raises(StoreError, match="its schema lume has tables, but no state of lume-client"):
            async with stores.at(new_url):
                pass
