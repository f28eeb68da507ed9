"""Objects of stores as source and target: of moto's S3, and of emulators of Azure's and Google's."""

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import obstore
import pytest
from local.store_run import OUT, execute
from moto_server import Bucket
from store_servers import Place

from lume_local._shared.commit import commit, committed
from lume_local._worker import object_stores
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.places import store_source
from lume_local._worker.sources.places.local import LocalFiles
from lume_local._worker.sources.places.store_source import StoredFiles
from lume_local._worker.targets import file_targets, target_kinds
from lume_local._worker.targets.file_targets import StoreTarget
from lume_local._worker.targets.target import Step, TargetError

CSV = b"id\n1\nx\n3\n"


@pytest.mark.thorough
def test_a_pattern_of_a_whole_bucket_and_what_consoles_make_as_folders(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("2024/", b"")
    bucket.put("2024/a.csv", b"id\n1\n")
    bucket.put("2024/b.csv", b"id\n2\n")
    wanted: list[Any] = [{"url": "s3://warehouse", "pattern": "**"}, "s3://warehouse/2024/b.csv"]
    record = execute(tmp_path, wanted)
    assert [one["file"] for one in record["metrics"]["source"]["files"]] == [
        "s3://warehouse/2024/a.csv",
        "s3://warehouse/2024/b.csv",
    ], "one that is named twice is read once"


def test_a_pattern_is_bounded(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        bucket.put(f"in/{n}.csv", b"id\n1\n")
    wanted = [{"url": "s3://warehouse/in", "pattern": "*.csv"}]
    with monkeypatch.context() as patch:
        patch.setattr("lume_local._worker.sources.source.MOST_FILES", 2)
        with pytest.raises(RunFailed, match="the source has 3 objects, but a run reads at most 2"):
            execute(tmp_path, wanted)
    with monkeypatch.context() as patch:
        patch.setattr("lume_local._worker.sources.places.store_source.MOST_ENTRIES", 2)
        with pytest.raises(RunFailed, match=r"cannot list s3://warehouse/in/\*.csv: .*more than 2 objects"):
            execute(tmp_path, wanted, run_id="run_2")
    with pytest.raises(RunFailed, match=r"no object matches s3://warehouse/in/\*.txt: put objects there"):
        execute(tmp_path, [{"url": "s3://warehouse/in", "pattern": "*.txt"}], run_id="run_3")
    with pytest.raises(RunFailed, match=r"cannot list s3://nobody/in/\*.txt: s3://nobody/in can't be used"):
        execute(tmp_path, [{"url": "s3://nobody/in", "pattern": "*.txt"}], run_id="run_4")
    assert [key for key in bucket.names() if not key.startswith("in/")] == []


def test_no_target_takes_the_place_of_an_object_that_a_pattern_matches(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("in/a.csv", CSV)
    with pytest.raises(RunFailed, match=r"target.mapped is the same file as the source"):
        execute(tmp_path, [{"url": "s3://warehouse", "pattern": "*/*.csv"}], mapped="s3://warehouse/in/a.csv")
    assert bucket.get("in/a.csv") == CSV


def test_one_limit_for_all_that_is_unpacked(bucket: Bucket, tmp_path: Path) -> None:
    for name in "ab":
        bucket.put(f"in/{name}.csv.gz", gzip.compress(b"id\n" + b"1\n" * 20))
    wanted = [{"url": "s3://warehouse/in", "pattern": "*"}]
    with pytest.raises(RunFailed, match=r"in/b.csv.gz unpacks to more than .* allows: 17 bytes are left"):
        execute(tmp_path, wanted, max_unpacked_bytes=60)


@pytest.mark.parametrize("most_parts", [9_000, 2])
def test_many_parts(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_parts: int) -> None:
    monkeypatch.setattr(file_targets, "_MOST_PARTS", most_parts)
    built = tmp_path / "built.csv"
    built.write_bytes(bytes(range(256)) * 50_000)
    target = StoreTarget("mapped", {"url": OUT}, "run_1")
    step = target.prepare(built, lambda noted: None)
    assert (bucket.names(), bucket.uploads()) == ([], []), "not before the commit"
    StoreTarget.publish(step)
    assert bucket.get("out/clean.csv") == built.read_bytes()
    assert bucket.tag("out/clean.csv").endswith(f"-{min(most_parts, 3)}")
    assert bucket.uploads() == []


@pytest.mark.parametrize(
    ("source", "mapped", "words"),
    [
        ("s3://warehouse/in/b.csv", OUT, r"there is no object s3://warehouse/in/b.csv: put it there"),
        ("s3://nobody/in/a.csv", OUT, "s3://nobody can't be used: there is no bucket nobody"),
        (
            "s3://warehouse/in/a.csv",
            "s3://nobody/clean.csv",
            "target.mapped: s3://nobody can't be used: there is no bucket nobody",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_is_read(
    bucket: Bucket, tmp_path: Path, source: str, mapped: str, words: str
) -> None:
    bucket.put("in/a.csv", CSV)
    with pytest.raises(RunFailed, match=words):
        execute(tmp_path, [source], mapped=mapped)
    assert list((tmp_path / "run_1/run").iterdir()) == []
    assert bucket.names() == ["in/a.csv"]


@pytest.mark.parametrize("kind", ["source", "target"])
def test_a_dead_endpoint(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(object_stores, "_TIMES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises((RunFailed, TargetError), match="can't be used: it can't be reached: ") as caught:
        if kind == "source":
            execute(tmp_path, ["s3://warehouse/in/a.csv"])
        else:
            StoreTarget("mapped", {"url": OUT}, "run_1").check()
    assert "s3cret" not in str(caught.value)


def test_without_the_extra(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, *_: str) -> None:
        raise ModuleNotFoundError(f"an object store needs {module}: pip install 'lume-local[s3]'")

    monkeypatch.setattr(object_stores, "require", missing)
    with pytest.raises(RunFailed, match="needs obstore: pip install"):
        execute(tmp_path, ["s3://warehouse/in/a.csv"])


def test_an_object_that_changes_while_it_is_read(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.csv", CSV)
    head = obstore.head

    def changed(*given: Any) -> Any:
        found = head(*given)
        bucket.put("in/a.csv", CSV + b"4\n")
        return found

    monkeypatch.setattr(obstore, "head", changed)
    with pytest.raises(RunFailed, match=r"in/a.csv was changed while it was read"):
        execute(tmp_path, ["s3://warehouse/in/a.csv"])
    assert bucket.names() == ["in/a.csv"]


@pytest.mark.thorough
def test_what_is_in_place_is_not_put_there_again_while_the_rest_waits(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may wait for a day: what lies there by then is a later run's."""
    bucket.put("in/a.csv", CSV)
    publish = StoreTarget.publish

    def away(step: Step) -> None:
        if step["part"] == "mapped":
            raise TargetError("away", may_pass=True)
        publish(step)

    with monkeypatch.context() as patch:
        patch.setattr(StoreTarget, "publish", away)
        with pytest.raises(RunFailed, match="away"):
            execute(tmp_path, ["s3://warehouse/in/a.csv"])
        assert bucket.get("out/rejects.csv")
        bucket.put("out/rejects.csv", b"of a later run")
        with pytest.raises(TargetError):
            target_kinds.finish(tmp_path / "run_1/run")
    assert target_kinds.finish(tmp_path / "run_1/run") is not None
    assert bucket.get("out/rejects.csv") == b"of a later run"
    assert bucket.get("out/clean.csv") == b"id\n1\n3\n"


@pytest.mark.thorough
def test_an_upload_to_a_store_that_is_away_comes_later(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.csv", CSV)
    with monkeypatch.context() as patch:
        patch.setattr(StoreTarget, "publish", lambda step: None)
        record = execute(tmp_path, ["s3://warehouse/in/a.csv"])
    bucket.put("out/clean.csv", b"of another run")
    assert committed(tmp_path / "run_1/run") == record
    with monkeypatch.context() as away, pytest.raises(TargetError) as caught:
        away.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        target_kinds.finish(tmp_path / "run_1/run")
    assert caught.value.may_pass, "the server tries again later"
    target_kinds.finish(tmp_path / "run_1/run")
    assert bucket.get("out/clean.csv") == b"id\n1\n3\n"
    assert bucket.uploads() == []


@pytest.mark.thorough
def test_a_refusal_at_the_end_leaves_nothing(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that only uploading needs is missed after the commit, and the run fails as a whole."""
    bucket.put("in/a.csv", CSV)
    with bucket.guarded("s3:[GL]*") as keys, pytest.raises(RunFailed) as caught:
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        execute(tmp_path, ["s3://warehouse/in/a.csv"])
    assert "out/rejects.csv can't be used: the credentials do not allow it" in str(caught.value)
    assert (bucket.names(), bucket.uploads()) == (["in/a.csv"], [])


def test_a_commit_of_an_older_version(bucket: Bucket, tmp_path: Path) -> None:
    """It had uploaded the parts before it, and noted the upload before that."""
    (tmp_path / "built.csv").write_text("id\n1\n")
    step = {"kind": "s3", "part": "mapped", "url": OUT, "run": "run_1", "from": str(tmp_path / "built.csv")}
    (tmp_path / "begun.json").write_text(json.dumps([step | {"note": "mapped", "since": 1.0, "upload": "1"}]))
    assert target_kinds.finish(tmp_path) is None
    assert bucket.names() == []
    commit(tmp_path, {"steps": [step | {"upload": "1", "parts": []}]})
    assert target_kinds.finish(tmp_path) is not None
    assert bucket.get("out/clean.csv") == b"id\n1\n"


@pytest.mark.parametrize(("at", "pages"), [("check", 2), ("check_unchanged", 1)])
def test_a_run_stops_between_two_pages_of_a_list(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, at: str, pages: int
) -> None:
    monkeypatch.setattr(store_source, "_PAGE", 2)
    for n in range(6):
        bucket.put(f"in/{n}.csv", CSV)
    source = StoredFiles({"objects": [{"url": "s3://warehouse/in", "pattern": "*.csv"}]}, {})
    if at == "check_unchanged":
        source.check()
    seen: list[int] = []

    def pause() -> None:
        seen.append(1)
        if len(seen) > pages:
            raise duckdb.InterruptException("cancelled")

    with pytest.raises(duckdb.InterruptException):
        getattr(source, at)(pause)
    assert len(seen) == pages + 1


def to_files(folder: Path) -> dict[str, str]:
    return {"kind": "file", "mapped": str(folder / "mapped.csv"), "rejects": str(folder / "rejects.csv")}


def test_a_pattern_of_another_store(place: Place, tmp_path: Path) -> None:
    place.put("in/b.csv.gz", gzip.compress(b"id\n2\n"))
    place.put("in/a.csv.gz", gzip.compress(b"id\n1\nx\n"))
    place.put("in/2024/c.csv.gz", gzip.compress(b"id\n3\n"))
    place.put("inner/d.csv.gz", b"")
    wanted = {"url": f"{place.url}/in", "pattern": "**/*.csv.gz"}
    record = execute(tmp_path, [wanted], **to_files(tmp_path))
    assert (tmp_path / "mapped.csv").read_bytes() == b"id\n3\n1\n2\n"
    files = [one["file"] for one in record["metrics"]["source"]["files"]]
    assert files == [f"{place.url}/in/{name}.csv.gz" for name in ("2024/c", "a", "b")]


def test_what_another_store_lacks(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
