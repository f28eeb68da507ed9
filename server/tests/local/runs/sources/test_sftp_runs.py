"""Runs of a server that read files of an SFTP server: which it may read, and what is known of them."""

from pathlib import Path

import pytest
from local.servers import serve
from sftp_server import SftpSite

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.urls import NotAnSftpUrl, SftpUrl
from lume_local._runs.sources.paths import PathRefused, Roots, below_root, remote
from lume_local._runs.sources.source_files import SourceSpec
from lume_local._serve.settings import ServerSettings
from lume_local._sftp.root import SftpRoot

FLOW = """
flow = "clean"
version = "v1"
[target]
mapped = "{data}/out/{source_path}/{run_id}.csv"
[columns.id]
type = "integer"
"""


def prepare(folder: Path, site: SftpSite) -> None:
    (folder / "flows").mkdir()
    (folder / "flows/clean.v1.toml").write_text(FLOW)
    by_content = FLOW.replace('"v1"', '"v2"\n[source]\nidentity = "content"')
    (folder / "flows/clean.v2.toml").write_text(by_content)
    pattern = FLOW.replace('"v1"', f'"v3"\n[source]\nuri = "{site.url}/{{source_path}}/*.csv"')
    (folder / "flows/clean.v3.toml").write_text(pattern)
    site.put("in/a.csv", b"id\n1\nx\n", 1_700_000_000)


@pytest.mark.thorough
async def test_a_run_over_the_wire(tmp_path: Path, sftp_site: SftpSite) -> None:
    prepare(tmp_path, sftp_site)
    url = f"{sftp_site.url}/in/a.csv"
    async with serve(tmp_path, roots=[str(tmp_path), sftp_site.root]) as wire:
        run = await wire.run("clean:v1", url)
        assert run["status"] == "PARTIAL_FAILED", run
        mapped = tmp_path / f".lume/out/in/a.csv/{run['id']}.csv"
        assert run["metadata"]["target_locations"]["mapped"] == str(mapped)
        assert mapped.read_bytes() == b"id\n1\n"
        again = await wire.submit("clean:v1", url)
        assert (again.kind, again.document["source_changed"]) == ("already-processed", False)
        upper = await wire.submit("clean:v1", url.replace("sftp://", "SFTP://".lower()))
        assert upper.kind == "already-processed"
        sftp_site.put("in/a.csv", b"id\n1\ny\n", 1_700_000_005)
        again = await wire.submit("clean:v1", url)
        assert (again.kind, again.document["source_changed"]) == ("already-processed", True)
        missing = await wire.run("clean:v1", f"{sftp_site.url}/in/none.csv")
        assert f"there is no file {sftp_site.url}/in/none.csv" in missing["metadata"]["error_message"]
        sftp_site.put("in/b.csv", b"id\n2\n")
        both = await wire.run("clean:v3", "in")
        assert [one["records"] for one in both["metadata"]["metrics"]["source"]["files"]] == [2, 1]
        preview = (await wire.submit("clean:v1", url, dry_run=True)).document
        assert preview["metadata"]["metrics"]["rows_read"] == 2, preview


@pytest.mark.thorough
async def test_each_content_once(tmp_path: Path, sftp_site: SftpSite) -> None:
    prepare(tmp_path, sftp_site)
    (tmp_path / "flows/clean.v2.toml").write_text(
        (tmp_path / "flows/clean.v2.toml").read_text().replace("{source_path}/", "")
    )
    url = f"{sftp_site.url}/in/a.csv"
    async with serve(tmp_path, roots=[str(tmp_path), sftp_site.root]) as wire:
        assert (await wire.run("clean:v2", url))["status"] == "PARTIAL_FAILED"
        sftp_site.put("in/a.csv", b"id\n1\nx\n", 1_700_000_005)
        assert (await wire.submit("clean:v2", url)).kind == "already-processed", "written again"
        sftp_site.put("in/a.csv", b"id\n1\ny\n", 1_700_000_005)
        assert (await wire.run("clean:v2", url))["status"] == "PARTIAL_FAILED"


@pytest.mark.thorough
async def test_what_is_not_allowed_and_what_is_kept(
    tmp_path: Path, sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source outside of the roots is refused at its submission; no secret is in an answer or in the state."""
    prepare(tmp_path, sftp_site)
    sftp_site.put("b.csv", b"id\n1\n")
    monkeypatch.setenv("ACME_PASSWORD", "unseen-secret")
    root = f"{sftp_site.root.replace('?', '/in?')}&password_env=ACME_PASSWORD"
    async with serve(tmp_path, roots=[str(tmp_path), root]) as wire:
        for url in (f"{sftp_site.url}/b.csv", "sftp://other.example.com/a.csv", f"{sftp_site.url}/in"):
            refused = await wire.submit("clean:v1", url)
            assert refused.kind == "source-not-allowed"
            assert f"this server may use: {sftp_site.url}/in" in refused.document["detail"]
        with_password = f"sftp://acme:pa/ss@word@127.0.0.1:{sftp_site.port}/in/a.csv"
        refused = await wire.submit("clean:v1", with_password)
        assert refused.kind == "source-not-allowed"
        assert "pa/ss" not in str(refused.document)
        assert "without a password" in refused.document["detail"]
        run = await wire.run("clean:v1", f"{sftp_site.url}/in/a.csv")
        assert run["status"] == "PARTIAL_FAILED"
        assert "unseen-secret" not in str(run)
        own = await wire.submit("clean:v1", str(sftp_site.folder / "key"))
        assert own.kind == "source-not-allowed"
    for path in (tmp_path / ".lume").rglob("*"):
        if path.is_file():
            found = path.read_bytes()
            assert b"unseen-secret" not in found
            assert b"pa/ss" not in found


def test_the_keys_of_a_root_are_no_sources_and_no_targets(tmp_path: Path) -> None:
    """Else a run could copy a key, or have a host trusted."""
    for name in ("key", "known"):
        (tmp_path / name).touch()
    root = f"sftp://acme@host/out?key_file={tmp_path}/key&known_hosts={tmp_path}/known"
    places = ServerSettings.of(None, tmp_path / ".lume", [str(tmp_path), root], {}).places
    for name in ("key", "known"):
        with pytest.raises(PathRefused, match="is the server's own state or keys"):
            places.source(str(tmp_path / name))
        with pytest.raises(PathRefused, match="is the server's own state or keys"):
            places.written(str(tmp_path / name))


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("sftp://acme:secret@host/out", "without a password"),
        (
            "sftp://host/out?password=secret",
            "password=… is not an option: there are key_file, passphrase_env",
        ),
        ("sftp://host/out?password_env=se-cret", "must name an environment variable of the server"),
        ("sftp://host/out?key_file=", "key_file= is empty"),
        ("sftp://host/out?passphrase_env=SECRET", "has no meaning without key_file"),
        ("sftp://host:99999/out", "is not the URL of a file"),
        ("sftp://host/a/../b", "has a part that is empty, '.' or '..'"),
        ("sftp://", "is not the URL of a file"),
    ],
)
async def test_roots_that_are_none(tmp_path: Path, root: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match="roots: ") as error:
        async with lume_local.serve(tmp_path, tmp_path / ".lume", [root]):
            raise AssertionError
    assert why in str(error.value)
    assert "secret@" not in str(error.value)
    assert "=secret" not in str(error.value)
    assert "se-cret" not in str(error.value)


def test_urls() -> None:
    """Whatever is not the same is not the same source; nothing is decoded."""
    url = SftpUrl.of("sftp://acme@Host.Example:22/out/a%20b ?#.csv")
    assert (url.text, url.remote) == ("sftp://acme@host.example/out/a%20b ?#.csv", "/out/a%20b ?#.csv")
    assert SftpUrl.of("sftp://host:2222/~/in/a.csv").remote == "in/a.csv"
    assert [SftpUrl.of(f"sftp://host{path}").remote for path in ("", "/", "/~", "/~a")] == [
        "/",
        "/",
        ".",
        "/~a",
    ]
    for wrong in (
        "sftp://host/a//b",
        "sftp://host/./a",
        "sftp://host/a\nb",
        "sftp://[::1]/a",
        "sftp://-host/a",
    ):
        with pytest.raises(NotAnSftpUrl):
            SftpUrl.of(wrong)


def test_which_root(tmp_path: Path) -> None:
    sites = tuple(
        map(SftpRoot.of, ("sftp://h/out?password_env=A", "sftp://h/out/deep/?password_env=B", "sftp://i"))
    )
    roots = Roots.of((tmp_path,), tmp_path, sites=sites)

    def variable(url: str, folder: str = "") -> str:
        return remote(roots, url, folder)[1].password_env

    assert variable("sftp://h/out/a.csv") == "A"
    assert variable("sftp://H:22/out/deep/a.csv") == "B"
    assert variable("sftp://h/out/deep/*.csv", "sftp://h/out/deep") == "B"
    assert variable("sftp://h/out/*.csv", "sftp://h/out") == "A"
    assert variable("sftp://i/anything") == ""
    for url in ("sftp://h/outer/a.csv", "sftp://me@h/out/a.csv", "sftp://h:23/out/a.csv", "sftp://h/a.csv"):
        with pytest.raises(PathRefused, match="lies outside of the SFTP servers"):
            remote(roots, url)
    with pytest.raises(PathRefused, match="lies outside"):
        remote(roots, "sftp://h/*.csv", "sftp://h")
    with pytest.raises(PathRefused, match="names no file: write its whole path"):
        remote(roots, "sftp://h/out/")
    with pytest.raises(PathRefused, match="this server may use: none; start it with, say, sftp://h/folder"):
        remote(Roots.of((tmp_path,), tmp_path), "sftp://h/out/a.csv")
    assert below_root(roots, "sftp://h/out/deep/a.csv") == "a.csv"
    spec = SourceSpec(("sftp://H/out/{source_path}/*.csv", "sftp://h:22/out/x.csv"), "2024[1]")
    assert spec.key(roots) == "sftp://h/out/2024[1]/*.csv\nsftp://h/out/x.csv"
    with pytest.raises(PathRefused, match="is of another kind than other parts of the source"):
        SourceSpec(("sftp://h/out/a.csv", "b.csv"), "").key(roots)


def test_targets_are_elsewhere() -> None:
    with pytest.raises(FlowError, match="must be a path, or a URL such as s3://"):
        read_definition(
            {"flow": "f", "version": "v1", "target": {"mapped": "sftp://h/a.csv"}, "columns": {"a": {}}}
        )
