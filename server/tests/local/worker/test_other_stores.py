"""Objects of Azure's and Google's stores, against emulators. What holds for all stores is in `test_object_stores`."""

import gzip
from pathlib import Path

import pytest
from local.store_run import execute
from store_servers import Place

from lume_local._worker import object_stores
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.places.local import LocalFiles
from lume_local._worker.targets import target_kinds
from lume_local._worker.targets.file_targets import StoreTarget
from lume_local._worker.targets.target import TargetError

CSV = b"id\n1\nx\n3\n"


def to_files(folder: Path) -> dict[str, str]:
    return {"kind": "file", "mapped": str(folder / "mapped.csv"), "rejects": str(folder / "rejects.csv")}


def test_an_object(place: Place, tmp_path: Path) -> None:
    place.put("in/a b.csv", CSV)
    record = execute(tmp_path, [f"{place.url}/in/a b.csv"], **to_files(tmp_path))
    assert record["metrics"]["source"]["bytes"] == len(CSV)
    assert (tmp_path / "mapped.csv").read_bytes() == b"id\n1\n3\n"


def test_a_pattern(place: Place, tmp_path: Path) -> None:
    place.put("in/b.csv.gz", gzip.compress(b"id\n2\n"))
    place.put("in/a.csv.gz", gzip.compress(b"id\n1\nx\n"))
    place.put("in/2024/c.csv.gz", gzip.compress(b"id\n3\n"))
    place.put("inner/d.csv.gz", b"")
    wanted = {"url": f"{place.url}/in", "pattern": "**/*.csv.gz"}
    record = execute(tmp_path, [wanted], **to_files(tmp_path))
    assert (tmp_path / "mapped.csv").read_bytes() == b"id\n3\n1\n2\n"
    files = [one["file"] for one in record["metrics"]["source"]["files"]]
    assert files == [f"{place.url}/in/{name}.csv.gz" for name in ("2024/c", "a", "b")]


def test_what_is_missing(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_stores, "_TIMES", 1)
    place.put("in/a.csv", CSV)
    with pytest.raises(RunFailed, match=f"there is no object {place.url}/in/b.csv: put it there"):
        execute(tmp_path, [f"{place.url}/in/b.csv"], **to_files(tmp_path))
    with pytest.raises(RunFailed, match=rf"no object matches {place.url}/in/\*.gz"):
        execute(tmp_path, [{"url": f"{place.url}/in", "pattern": "*.gz"}], run_id="2", **to_files(tmp_path))
    nobody = f"{place.url[:5]}nobody"
    with pytest.raises(RunFailed, match=f"{nobody} can't be used: .*(no container|no bucket named) nobody"):
        execute(tmp_path, [f"{nobody}/in/a.csv"], run_id="3", **to_files(tmp_path))
    assert not (tmp_path / "mapped.csv").exists()


def test_targets(target: Place, tmp_path: Path) -> None:
    target.put("in/a.csv", CSV)
    out = {"mapped": f"{target.url}/out/clean.csv", "rejects": f"{target.url}/out/rejects.csv"}
    record = execute(tmp_path, [f"{target.url}/in/a.csv"], **out)
    assert record["target_locations"] == out
    assert target.get("out/clean.csv") == b"id\n1\n3\n"
    assert b"id: is not a valid integer" in target.get("out/rejects.csv")
    assert target_kinds.finish(tmp_path / "run_1/run") == record, "by another process, after a kill"


@pytest.mark.thorough
def test_an_object_of_many_parts(target: Place, tmp_path: Path) -> None:
    target.put("in/a.csv", b"id\nx\n" + b"".join(b"%d\n" % n for n in range(2_000_000)))
    out = {"mapped": f"{target.url}/out/clean.csv", "rejects": f"{target.url}/out/rejects.csv"}
    execute(tmp_path, [f"{target.url}/in/a.csv"], **out)
    found = target.get("out/clean.csv")
    assert len(found) > 10_000_000
    assert found == b"id\n" + b"".join(b"%d\n" % n for n in range(2_000_000))


@pytest.mark.parametrize("target", ["azurite", "s3"], indirect=True)
@pytest.mark.parametrize("uploaded_by", ["run_1", "run_2"])
def test_an_object_of_a_run_that_a_later_one_overtook(
    target: Place, tmp_path: Path, uploaded_by: str
) -> None:
    """What was carried out before a kill is done; what was not, replaces nothing newer."""
    (tmp_path / "built.csv").write_text("id\n1\n")
    late, uploaded = [
        StoreTarget("mapped", {"url": f"{target.url}/out.csv"}, run).prepare(tmp_path / "built.csv", print)
        for run in ("run_1", uploaded_by)
    ]
    overtaken = late | {"overtaken": "run_2 was later"}
    with pytest.raises(TargetError, match="run_2 was later"):
        StoreTarget.publish(overtaken)
    assert target.names() == []
    StoreTarget.publish(uploaded)
    if uploaded_by == "run_1":
        return StoreTarget.publish(overtaken)
    with pytest.raises(TargetError, match="run_2 was later"):
        StoreTarget.publish(overtaken)


def test_a_container_that_is_missing_is_said_before_anything_is_read(target: Place, tmp_path: Path) -> None:
    target.put("in/a.csv", CSV)
    nobody = f"{target.url[:5]}nobody"
    out = {"mapped": f"{nobody}/clean.csv", "rejects": f"{nobody}/rejects.csv"}
    words = rf"target.mapped: {nobody} can't be used: .*no (container|bucket( named)?) nobody"
    with pytest.raises(RunFailed, match=words):
        execute(tmp_path, [f"{target.url}/in/a.csv"], **out)
    assert list((tmp_path / "run_1/run").iterdir()) == []


def test_an_object_is_compared_before_and_after(
    container: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a list writes its tag in another way."""
    container.put("in/a.csv", CSV)
    check = LocalFiles.check

    def changed(files: LocalFiles) -> None:
        container.put("in/a.csv", b"id\n7\nx\n8\n")
        check(files)

    monkeypatch.setattr(LocalFiles, "check", changed)
    with pytest.raises(RunFailed, match=r"in/a.csv was changed while it was read"):
        execute(tmp_path, [{"url": f"{container.url}/in", "pattern": "*"}], **to_files(tmp_path))
