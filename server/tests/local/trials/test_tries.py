"""`open_trial`: flows on a sample, without a server."""

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

import lume_local
from lume_async.models import RunStatus

ORDERS = """
flow = "orders"
version = "v1"
[target]
mapped = "published/{source_path}.csv"
[rejects]
max_ratio = 0.1
[columns.id]
type = "integer"
[columns.price]
type = "number"
sql_type = "decimal(12, 2)"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.toml").write_text(ORDERS)
    (tmp_path / "a.csv").write_text("id,price\n1,2\nx,3\n3,2944.9\n4,\n")
    return tmp_path


async def test_rows_and_counts(folder: Path) -> None:
    before = sorted(folder.iterdir())
    async with lume_local.open_trial("a.csv") as trial:
        tried = await trial.try_flow("orders.toml", limit=2)
        again = await trial.try_flow("orders.toml", limit=0)
    assert (tried.ref, tried.status, tried.message) == ("orders:v1", RunStatus.PARTIAL_FAILED, None)
    assert [str(row["price"]) for row in tried.mapped] == ["2.00", "2944.90"]
    assert isinstance(tried.mapped[0]["price"], Decimal)
    assert [(row["_lume_row"], row["id"]) for row in tried.rejects] == [(2, "x")]
    assert (tried.metrics["rows_read"], tried.metrics["rows_rejected"], tried.max_ratio) == (4, 1, 0.1)
    assert (again.mapped, again.rejects, again.metrics) == ([], [], tried.metrics)
    assert sorted(folder.iterdir()) == before


async def test_a_changed_flow_and_sample_are_tried_as_they_are(folder: Path) -> None:
    async with lume_local.open_trial("a.csv") as trial:
        (folder / "orders.toml").write_text(ORDERS.replace("[columns.id]", "[columns.id]\nminimum = 3"))
        assert (await trial.try_flow("orders.toml")).metrics["rows_rejected"] == 2
        (folder / "a.csv").write_text("id,price\n7,1\n")
        assert (await trial.try_flow("orders.toml")).mapped == [{"id": 7, "price": Decimal("1.00")}]
        (folder / "a.csv").unlink()
        gone = await trial.try_flow("orders.toml")
    assert (gone.status, gone.metrics) == (RunStatus.FAILED, {})
    assert "there is no file" in str(gone.message)


async def test_a_sample_is_named_from_the_folder_above(folder: Path) -> None:
    (folder / "below").mkdir()
    async with lume_local.open_trial("below/../a.csv") as trial:
        tried = await trial.try_flow("orders.toml")
    assert tried.message is None
    assert tried.metrics["rows_read"] > 0


async def test_mistakes_have_their_lines(folder: Path) -> None:
    (folder / "orders.toml").write_text(ORDERS + "colour = 1\n[columns.x]\nsql = 'nope('\n")
    async with lume_local.open_trial("a.csv") as trial:
        with pytest.raises(lume_local.FlowError, match="colour") as caught:
            await trial.try_flow("orders.toml")
        (folder / "orders.toml").write_text("flow = ")
        with pytest.raises(lume_local.FlowError, match="is not TOML"):
            await trial.try_flow("orders.toml")
        with pytest.raises(FileNotFoundError):
            await trial.try_flow("none.toml")
    assert (caught.value.line, [one.line for one in caught.value.others]) == (13, [15])


async def test_a_sample_may_be_a_link(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "b.csv"
    elsewhere.write_text("id,price\n1,2\n")
    (folder / "link.csv").symlink_to(elsewhere)
    async with lume_local.open_trial("link.csv") as trial:
        assert (await trial.try_flow("orders.toml")).metrics["rows_read"] == 1


async def test_a_query_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{folder}/shop.db")
    with closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER, price TEXT)")
        connection.execute("INSERT INTO orders VALUES (1, '2.5')")
    source = '[source]\nformat = "sql"\nurl_env = "SHOP_URL"\nquery = "SELECT * FROM orders"\n'
    (folder / "orders.toml").write_text(ORDERS.replace("[target]", f"{source}[target]"))
    async with lume_local.open_trial("a.csv") as trial:
        assert (await trial.try_flow("orders.toml")).mapped == [{"id": 1, "price": Decimal("2.50")}]
