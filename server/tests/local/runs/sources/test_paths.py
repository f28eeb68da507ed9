"""Which files may be touched: nothing outside of the roots, however it is spelled."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from lume_local._runs.sources.paths import PathRefused, Roots, lies_in, spelled
from lume_local._runs.sources.source_files import SourceSpec


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for name in ("in", "more", "data", "secret"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret/s.csv").write_text("id\n1\n")
    (tmp_path / "in/way_out").symlink_to(tmp_path / "secret")
    (tmp_path / "in/one_out.csv").symlink_to(tmp_path / "secret/s.csv")
    (tmp_path / "in/inside").symlink_to(tmp_path / "more")
    return Roots.of((tmp_path / "in", tmp_path / "more"), tmp_path / "data")


def test_relative_paths_belong_to_the_first_root(roots: Roots, tmp_path: Path) -> None:
    assert roots.source("a/b.csv") == tmp_path / "in/a/b.csv"
    assert roots.source(str(tmp_path / "more/x.csv")) == tmp_path / "more/x.csv"
    assert roots.source((tmp_path / "more/x y.csv").as_uri()) == tmp_path / "more/x y.csv"
    assert roots.source(f"file://localhost{tmp_path}/in/x.csv") == tmp_path / "in/x.csv"
    assert roots.source("inside/x.csv") == tmp_path / "more/x.csv"


@pytest.mark.parametrize(
    "spelling",
    ["a.csv", "./a.csv", ".//a.csv", "{home}/in/a.csv", "/{home}/in/a.csv", "file://{home}/in/./a.csv"],
)
def test_all_spellings_of_a_file_are_one_source(roots: Roots, tmp_path: Path, spelling: str) -> None:
    assert roots.located(spelling.format(home=tmp_path)) == tmp_path / "in/a.csv"


def test_uploads_have_names_of_their_own(roots: Roots, tmp_path: Path) -> None:
    place = tmp_path / "data/uploads/a..csv"
    assert roots.source("upload://a..csv") == roots.located("upload://a..csv") == place
    assert roots.relative(place) == "uploads/a..csv"
    assert spelled("/in/{source_path}.csv", "upload://a..csv") == "upload://a..csv"
    assert spelled("/in/{source_path}.csv", "x") == "/in/x.csv"
    with pytest.raises(PathRefused, match="uploads"):
        roots.target("{data}/uploads/a.csv", {"data": str(tmp_path / "data")})


@pytest.mark.parametrize(
    "path",
    [
        "upload://",
        "upload://..",
        "upload://../state/x",
        "upload://.0.draft",
        "upload:///etc/passwd",
        "upload://a/b",
        "upload://a%2Fb",
        "UPLOAD://a",
        "../secret/s.csv",
        "a/../../secret/s.csv",
        "a/../b.csv",
        "/etc/passwd",
        "{home}/secret/s.csv",
        "{home}/in/../secret/s.csv",
        "{home}/into/x.csv",
        "file://{home}/in/%2e%2e/secret/s.csv",
        "file:///etc/passwd",
        "file://elsewhere/in/x.csv",
        "s3://bucket/x.csv",
        "http://127.0.0.1/x.csv",
        "way_out/s.csv",
        "way_out/not/there.csv",
        "one_out.csv",
        "{home}/data/x.csv",
    ],
)
def test_sources_outside_are_refused(roots: Roots, tmp_path: Path, path: str) -> None:
    with pytest.raises(PathRefused):
        roots.source(path.format(home=tmp_path))


@pytest.fixture
def cwd(tmp_path: Path) -> Roots:
    """What `lume serve --keys keys.toml` has: the data folder lies in a root, and the keys beside it."""
    for name in (".lume/state", ".lume/uploads", "more"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "keys.toml").write_text("")
    (tmp_path / "more/state").symlink_to(tmp_path / ".lume/state")
    (tmp_path / "more/keys").symlink_to(tmp_path / "keys.toml")
    (tmp_path / "more/linked").hardlink_to(tmp_path / "keys.toml")
    (tmp_path / ".lume/lume").symlink_to("..")
    return Roots.of((tmp_path, tmp_path / ".lume"), tmp_path / ".lume", private=(tmp_path / "keys.toml",))


@pytest.mark.parametrize(
    "path",
    [
        ".lume/state/server.json",
        ".lume/state/runs.sqlite",
        ".lume/./state//not_there",
        ".lume/state",
        "{home}/.lume/state/server.json",
        "file://{home}/.lume/%73tate/server.json",
        ".lume/lume/.lume/state/server.json",
        "more/state/server.json",
        "keys.toml",
        "more/keys",
        "more/linked",
    ],
)
def test_what_is_the_servers_own_is_neither_source_nor_target(cwd: Roots, tmp_path: Path, path: str) -> None:
    path = path.format(home=tmp_path)
    with pytest.raises(PathRefused, match="server's own"):
        cwd.source(path)
    with pytest.raises(PathRefused, match="server's own"):
        cwd.target(path, {})


def test_each_folder_that_may_be_used_is_named_once(cwd: Roots, tmp_path: Path) -> None:
    with pytest.raises(PathRefused) as caught:
        cwd.target("/etc/x.csv", {})
    assert str(caught.value).count(f"{tmp_path}/.lume") == 1


def test_another_name_of_a_folder_is_the_same_folder(cwd: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems where upper case is lower case, or where a folder is mounted twice."""
    real = os.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        return real(str(path).replace("STATE", "state"), **options)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(PathRefused, match="server's own"):
        cwd.source(".lume/STATE/server.json")


def test_a_state_that_does_not_exist_yet_is_the_servers_own_too(roots: Roots, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "in/shortcut").symlink_to(tmp_path / "data")
    with pytest.raises(PathRefused, match="server's own"):
        roots.target("shortcut/state/runs.sqlite", {})


def test_only_the_roots_of_one_job_remember_what_they_have_seen(
    cwd: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, real = list[str](), os.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        seen.append(str(path))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    of_job = cwd.for_one_job()
    for _ in range(2):
        assert of_job.source("more/x.csv") == of_job.target("more/x.csv", {}) == tmp_path / "more/x.csv"
    assert len(seen) == len(set(seen))
    (tmp_path / "more/x.csv").symlink_to(tmp_path / "keys.toml")
    for roots in (cwd, cwd.for_one_job()):
        with pytest.raises(PathRefused, match="server's own"):
            roots.source("more/x.csv")


def test_outputs_in_the_data_folder_may_be_sources(cwd: Roots, tmp_path: Path) -> None:
    assert cwd.source(".lume/out/m.csv") == tmp_path / ".lume/out/m.csv"
    assert cwd.target(".lume/out/keys.toml", {}) == tmp_path / ".lume/out/keys.toml"


def test_a_path_lies_in_a_folder_as_pathlib_says() -> None:
    names = ("/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c", "/a/b/../c", "a/b", "a", "/a\n", "/A/b")
    for path, folder in itertools.product(map(Path, names), repeat=2):
        assert lies_in(path, folder) is path.is_relative_to(folder), (path, folder)


def test_targets(roots: Roots, tmp_path: Path) -> None:
    values = {"data": str(tmp_path / "data"), "run_id": "run_1", "source_path": "a/b.csv"}
    assert roots.target("{data}/out/{run_id}/m.csv", values) == tmp_path / "data/out/run_1/m.csv"
    assert roots.target("out/{source_path}.parquet", values) == tmp_path / "in/out/a/b.csv.parquet"
    assert roots.target(f"file://{tmp_path}/more/m.csv", values) == tmp_path / "more/m.csv"
    # What a value holds is never itself taken for a placeholder.
    tricky = {"source_path": "{run_id}", "run_id": "no"}
    assert roots.target("{source_path}.csv", tricky) == tmp_path / "in/{run_id}.csv"


@pytest.mark.parametrize(
    "template",
    ["/etc/x.csv", "../x.csv", "{data}/../x.csv", "way_out/x.csv", "{source_path}/x.csv", "s3://b/x.csv"],
)
def test_targets_outside_are_refused(roots: Roots, tmp_path: Path, template: str) -> None:
    with pytest.raises(PathRefused):
        roots.target(template, {"data": str(tmp_path / "data"), "source_path": "../.."})


def test_source_paths_in_targets_are_relative(roots: Roots, tmp_path: Path) -> None:
    assert roots.relative(tmp_path / "in/a/b.csv") == "a/b.csv"
    assert roots.relative(tmp_path / "more/c.csv") == "c.csv"


def test_no_target_is_a_flow_version(tmp_path: Path) -> None:
    """Nor by a link, whose own name may end as a target must."""
    (tmp_path / "in/flows").mkdir(parents=True)
    (tmp_path / "in/flows/a.v1.toml").write_text("")
    (tmp_path / "in/out.csv").symlink_to("flows/a.v1.toml")
    roots = Roots.of((tmp_path / "in",), tmp_path / "data", flows=tmp_path / "in/flows")
    with pytest.raises(PathRefused, match=r"'out.csv' is a flow version of this server"):
        roots.target("out.csv", {})
    assert roots.target("flows/out.csv", {}) == tmp_path / "in/flows/out.csv"
    assert roots.source("flows/a.v1.toml") == tmp_path / "in/flows/a.v1.toml"


def test_an_upload_that_has_not_arrived_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "data/uploads").mkdir(parents=True)
    (tmp_path / "data/uploads/.1f.draft").write_text("id\n1\n")
    (tmp_path / "link.csv").symlink_to("data/uploads/.1f.draft")
    roots = Roots.of((tmp_path,), tmp_path / "data")
    for path in ("data/uploads/.1f.draft", "link.csv"):
        with pytest.raises(PathRefused, match="is an upload that has not arrived yet"):
            roots.source(path)
    with pytest.raises(PathRefused, match="has not arrived yet"):
        SourceSpec(("data/uploads/.*",), "x").files(roots)
