"""Files of an SFTP server as a source, against OpenSSH's own."""

import gzip
import io
import os
import random
import signal
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve
from components import package
from local.flows import people
from local.loads import table_run
from local.one_run import carried_out
from postgres_server import free_port
from sftp_server import SftpSite

from lume_local._flow.definition import read_definition
from lume_local._sftp import connection, root, session
from lume_local._sftp.root import Cause, SftpRoot, SftpTrouble
from lume_local._sftp.session import FileChanged, RemoteFile, SftpServer, file_at, read_file
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.places.sftp_source import SftpFiles
from lume_local._worker.sources.source import SourceError

LARGE = random.Random(1).randbytes(16_000_000)
"""16 MB, of which no two blocks are the same."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away is not waited for."""
    monkeypatch.setattr(session, "PAUSE", 0.001)


def wanted(site: SftpSite, *names: str, root: str = "") -> list[dict[str, Any]]:
    plain = SftpRoot.of(root or site.root).plain()
    found = []
    for name in names:
        folder, _, pattern = name.partition("|")
        url = f"{site.url}/{folder}".rstrip("/")
        found.append({"url": url, "pattern": pattern, "root": plain})
    return found


def source(site: SftpSite, *names: str, root: str = "") -> SftpFiles:
    return SftpFiles({"wanted": wanted(site, *names, root=root)}, {})


def refused(site: SftpSite, root: str = "") -> str:
    with pytest.raises(SourceError) as error:
        source(site, "a.csv", root=root).check()
    return str(error.value)


def execute(
    folder: Path,
    site: SftpSite,
    *names: str,
    run_id: str = "run_1",
    engine: dict[str, Any] | None = None,
    **of_source: Any,
) -> dict[str, Any]:
    """A run over the files to `clean.csv`; its metrics, and what it wrote."""
    flow = read_definition(people(source=of_source))
    place = {"kind": "sftp", "wanted": wanted(site, *names)}
    job = table_run.job_of(flow, folder / run_id, run_id, source=place)
    job = evolve(job, engine=engine, mapped={"kind": "file", "path": str(folder / f"{run_id}.csv")})
    job = evolve(job, rejects={"kind": "file", "path": str(folder / f"{run_id}.rejects.csv")})
    Path(job.folder).mkdir()
    with connect() as database:
        metrics = carried_out(database, job)["metrics"]
    return {"mapped": (folder / f"{run_id}.csv").read_text(), **metrics["source"]}


async def opened(site: SftpSite, name: str) -> tuple[SftpServer, RemoteFile]:
    server = SftpServer(SftpRoot.of(site.root))
    return server, await file_at(server, f"{site.url}/{name}")


def test_files_of_all_kinds(sftp_site: SftpSite, tmp_path: Path) -> None:
    sftp_site.put("in/a b.csv", b"id\n1\nx\n")
    sftp_site.put("in/c.csv.gz", gzip.compress(b"id\n3\n"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("d.csv", "id\n4\n")
    sftp_site.put("in/d.zip", archive.getvalue())
    done = execute(tmp_path, sftp_site, "in/a b.csv", "in/c.csv.gz", "in/d.zip")
    assert done["mapped"] == "id\n1\n3\n4\n"
    assert done["files"][0] == {
        "file": f"{sftp_site.url}/in/a b.csv",
        **{"bytes": 7, "lines": 3, "records": 2},
    }
    assert (tmp_path / "run_1.rejects.csv").read_text().count(f"{sftp_site.url}/in/a b.csv") == 1
    sftp_site.put("e.ndjson", b'{"id": 5}\n')
    assert execute(tmp_path, sftp_site, "e.ndjson", run_id="run_2", format="ndjson")["mapped"] == "id\n5\n"


def test_with_an_engine_one_worker_reads_all(sftp_site: SftpSite, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        sftp_site.put(name, b"id\n" + b"1\n" * 1000)
    engine = {"url": "here", "shard_bytes": 1, "shards": 4}
    assert execute(tmp_path, sftp_site, "a.csv", "b.csv", engine=engine)["records"] == 2000


@pytest.mark.thorough
def test_patterns(sftp_site: SftpSite, tmp_path: Path) -> None:
    """They mean what they mean for files of this machine."""
    for name in ("b.csv", "a.csv", "2024/c.csv", ".hidden.csv", ".git/d.csv", "e.txt", "2024/05/f.csv"):
        sftp_site.put(f"in/{name}", b"id\n%d\n" % ord(name[-5]))
    (sftp_site.files / "in/folder.csv").mkdir()

    def names(pattern: str) -> list[str]:
        found = source(sftp_site, f"in|{pattern}")
        found.check()
        return [url.removeprefix(f"{sftp_site.url}/in/") for url in found.places]

    assert names("*.csv") == ["a.csv", "b.csv"]
    assert names("**/*.csv") == ["2024/05/f.csv", "2024/c.csv", "a.csv", "b.csv"]
    assert names("*/*.csv") == ["2024/c.csv"]
    assert names("2024/[a-c].csv") == ["2024/c.csv"]
    assert names(".h*") == [".hidden.csv"]
    assert execute(tmp_path, sftp_site, "in|*.csv", "in/b.csv")["mapped"] == "id\n97\n98\n", "each once"
    for nothing in ("*.xml", "nowhere/*.csv"):
        with pytest.raises(SourceError, match=r"no file matches sftp://.*: put files there"):
            source(sftp_site, f"in|{nothing}").check()
    with pytest.raises(SourceError, match=r"no file matches"):
        source(sftp_site, "missing|*.csv").check()


def test_what_is_no_file(sftp_site: SftpSite, tmp_path: Path) -> None:
    os.mkfifo(sftp_site.files / "pipe")
    (sftp_site.files / "folder").mkdir()
    for name, why in (
        ("pipe", "is not a regular file"),
        ("folder", "is a folder: name one file in it"),
        ("none.csv", "there is no file sftp://.*/none.csv: put it there, then submit the run again"),
    ):
        with pytest.raises(RunFailed, match=why):
            execute(tmp_path, sftp_site, name, run_id=f"run_{name}")


@pytest.mark.thorough
def test_no_link_leads_out_of_the_root(sftp_site: SftpSite) -> None:
    sftp_site.put("in/a.csv", b"id\n1\n")
    secret = sftp_site.folder / "secret.csv"
    secret.write_bytes(b"id\n2\n")
    (sftp_site.files / "in/inner.csv").symlink_to(sftp_site.files / "in/a.csv")
    found = source(sftp_site, "in|*.csv")
    found.check()
    assert len(found.places) == 2, "one that stays inside is followed"
    (sftp_site.files / "in/outer.csv").symlink_to(secret)
    (sftp_site.files / "away").symlink_to(sftp_site.folder)
    for name in ("in/outer.csv", "in|*.csv", "away/secret.csv", "away|*.csv", "|*/*.csv"):
        with pytest.raises(SourceError, match="is a link that leads out of sftp://"):
            source(sftp_site, name).check()
    (sftp_site.files / "in/outer.csv").unlink()
    found = source(sftp_site, "|**/*.csv")
    found.check()
    assert len(found.places) == 2, "and ** follows none"
    (sftp_site.files / "in/dangling.csv").symlink_to("nowhere")
    found = source(sftp_site, "in|*.csv")
    found.check()
    assert len(found.places) == 2


def test_names_that_are_no_text(sftp_site: SftpSite) -> None:
    sftp_site.put("a.csv", b"id\n1\n")
    (Path(os.fsdecode(bytes(sftp_site.files) + b"/caf\xe9.txt"))).write_bytes(b"")
    found = source(sftp_site, "|*.csv")
    found.check()
    assert len(found.places) == 1, "it does not match"
    with pytest.raises(SourceError, match=r"the name of .*/caf\\udce9.txt is not UTF-8.*rename it"):
        source(sftp_site, "|*.txt").check()


def test_searches_are_bounded(sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        sftp_site.put(f"{n}.csv", b"id\n1\n")
    with monkeypatch.context() as patch:
        patch.setattr("lume_local._sftp.session.MOST_ENTRIES", 3)
        with pytest.raises(SourceError, match="more than 3 files and folders to search below sftp://"):
            source(sftp_site, "|*.csv").check()
    with monkeypatch.context() as patch:
        patch.setattr("lume_local._worker.sources.source.MOST_FILES", 3)
        with pytest.raises(SourceError, match="the source has 4 files, but a run reads at most 3"):
            source(sftp_site, "|*.csv").check()


def test_a_host_key_that_changed(sftp_site: SftpSite) -> None:
    sftp_site.put("a.csv", b"id\n1\n")
    source(sftp_site, "a.csv").check()
    sftp_site.stop()
    sftp_site.new_host_key()
    sftp_site.start()
    words = refused(sftp_site)
    assert "its host key has changed (ssh-ed25519, SHA256:" in words
    assert f"ssh-keygen -R '[127.0.0.1]:{sftp_site.port}' -f {sftp_site.folder}/known_hosts" in words
    assert f"ssh-keyscan -p {sftp_site.port} 127.0.0.1 >> {sftp_site.folder}/known_hosts" in words
    assert len(words) < 500
    sftp_site.trust()
    source(sftp_site, "a.csv").check()


def test_a_host_key_that_is_not_known_or_revoked_or_of_another_kind(sftp_site: SftpSite) -> None:
    known = sftp_site.folder / "known_hosts"
    line = known.read_text()
    known.write_text("")
    assert "its host key (ssh-ed25519, SHA256:" in (words := refused(sftp_site))
    assert f"is not in {known}. Once its operator has confirmed it: ssh-keyscan -p" in words
    known.unlink()
    assert "is not in" in refused(sftp_site), "no file is an empty one"
    known.write_text(f"{line}@revoked {line}")
    assert "its host key is revoked in" in refused(sftp_site)
    other = package("asyncssh").generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    known.write_text(f"[127.0.0.1]:{sftp_site.port} {other}")
    assert "its host key has changed (ssh-ed25519, SHA256:" in refused(sftp_site)
    known.write_text("nonsense")
    assert f"the known hosts {known} can't be read" in refused(sftp_site)


def test_an_account_that_is_not_let_in(sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch) -> None:
    sftp_site.put("a.csv", b"id\n1\n")
    base = f"{sftp_site.url}?known_hosts={sftp_site.folder}/known_hosts"
    key = package("asyncssh").generate_private_key("ssh-ed25519")
    path = sftp_site.folder / "other"
    key.write_private_key(str(path), passphrase="open sesame", rounds=2, ignore_few_rounds=True)
    assert f"the key {path}x can't be read: No such file" in refused(sftp_site, f"{base}&key_file={path}x")
    assert "if it has a passphrase, name its passphrase_env" in refused(sftp_site, f"{base}&key_file={path}")
    protected = f"{base}&key_file={path}&passphrase_env=SFTP_PHRASE"
    assert "variable SFTP_PHRASE is not set where the server runs" in refused(sftp_site, protected)
    monkeypatch.setenv("SFTP_PHRASE", "wrong words")
    assert "check the value of SFTP_PHRASE" in (words := refused(sftp_site, protected))
    assert "wrong words" not in words
    monkeypatch.setenv("SFTP_PHRASE", "open sesame")
    assert f"it refused to sign in with {path}" in refused(sftp_site, protected)
    with (sftp_site.folder / "authorized_keys").open("ab") as file:
        file.write(key.export_public_key())
    source(sftp_site, "a.csv", root=protected).check()


@contextmanager
def asking_for_passwords(folder: Path) -> Iterator[int]:
    """A server that knows one account, `acme`, and its password."""
    asyncssh = package("asyncssh")

    class Asking(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("acme", "pässword")

    key = asyncssh.generate_private_key("ssh-ed25519")
    port, stop, ready = free_port(), threading.Event(), threading.Event()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")

    async def serve() -> None:
        async with await asyncssh.listen(
            "127.0.0.1", port, server_factory=Asking, server_host_keys=[key], sftp_factory=True
        ):
            ready.set()
            await anyio.to_thread.run_sync(stop.wait)

    thread = threading.Thread(target=anyio.run, args=(serve,))
    thread.start()
    try:
        assert ready.wait(100)
        yield port
    finally:
        stop.set()
        thread.join()


def test_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(b"id\n1\n")
    with asking_for_passwords(tmp_path) as port:
        url = f"sftp://acme@127.0.0.1:{port}{tmp_path}"
        root = SftpRoot.of(f"{url}?known_hosts={tmp_path}/known&password_env=ACME_PASSWORD")
        found = SftpFiles({"wanted": [{"url": f"{url}/a.csv", "pattern": "", "root": root.plain()}]}, {})
        with pytest.raises(SourceError, match="ACME_PASSWORD is not set where the server runs"):
            found.check()
        monkeypatch.setenv("ACME_PASSWORD", "guessed")
        with pytest.raises(SourceError, match="refused to sign in with the value of ACME_PASSWORD") as error:
            found.check()
        assert "guessed" not in str(error.value)
        monkeypatch.setenv("ACME_PASSWORD", "pässword")
        found.check()
        assert found.places == [f"{url}/a.csv"]


def test_a_server_that_is_away(sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch) -> None:
    times = 0

    def counted(root: SftpRoot) -> Any:
        nonlocal times
        times += 1
        return connection.connected(root)

    monkeypatch.setattr(session, "connected", counted)
    sftp_site.stop()
    words = refused(sftp_site)
    assert f"sftp://{sftp_site.url.split('/')[2]} can't be reached: " in words
    assert "check the host, its port and the network" in words
    assert times == session.TIMES
    monkeypatch.setattr(connection, "require", missing)
    assert refused(sftp_site) == "an SFTP server needs asyncssh: pip install it"


def missing(module: str, extra: str, what: str) -> None:
    raise ModuleNotFoundError(f"{what} needs {module}: pip install it")


@pytest.mark.thorough
def test_a_server_that_does_not_answer(sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to a request nor to one who connects: each has a deadline, and so has all together."""
    sftp_site.put("a.csv", LARGE)

    async def silenced() -> SftpTrouble:
        server, file = await opened(sftp_site, "a.csv")
        async with server:
            with pytest.raises(SftpTrouble) as error:
                await read_file(server, file.path, file.url, file.version, lambda _: silence())
        return error.value

    def silence() -> None:
        """From here on nothing is answered, so that no limit is too short."""
        monkeypatch.setattr(root, "ANSWER", 0.2)
        monkeypatch.setattr(root, "CONNECT", 0.2)
        sftp_site.signal_connections(signal.SIGSTOP)
        assert sftp_site.process is not None
        os.kill(sftp_site.process.pid, signal.SIGSTOP)

    try:
        error = anyio.run(silenced)
        assert error.state == Cause.AWAY
        assert "no answer for 0.2 s" in str(error)
        monkeypatch.undo()
        monkeypatch.setattr(session, "TIMES", 1)
        sftp_site.stop()
        sftp_site.start()
        assert "the server has not answered for 0.2 s" in str(anyio.run(silenced))
    finally:
        assert sftp_site.process is not None
        os.kill(sftp_site.process.pid, signal.SIGCONT)


@pytest.mark.thorough
def test_a_connection_that_is_cut_again_and_again(
    sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes on where it was, each time: nothing comes twice, nothing is missing."""
    monkeypatch.setattr(session, "WINDOW", 1024 * 1024)
    sftp_site.put("a.csv", LARGE)
    got, cuts = bytearray(), 0

    def take(block: bytes) -> None:
        nonlocal cuts
        got.extend(block)
        if cuts < 8:
            cuts += bool(sftp_site.signal_connections(signal.SIGKILL))

    async def read() -> None:
        server, file = await opened(sftp_site, "a.csv")
        async with server:
            await read_file(server, file.path, file.url, file.version, take)

    anyio.run(read)
    assert cuts > session.TIMES
    assert got == LARGE


def test_a_server_that_only_cuts(sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without progress it ends."""
    sftp_site.put("a.csv", LARGE)
    monkeypatch.setattr(session, "WINDOW", 64 * 1024)
    monkeypatch.setattr(session, "_REQUEST", 64 * 1024)

    async def read() -> int:
        read = 0

        def take(block: bytes) -> None:
            nonlocal read
            read += len(block)
            if read > 640 * 1024:
                raise SftpTrouble("cut", Cause.AWAY)

        server, file = await opened(sftp_site, "a.csv")
        async with server:
            with pytest.raises(SftpTrouble):
                await read_file(server, file.path, file.url, file.version, take)
        return read

    assert anyio.run(read) == (10 + session.TIMES) * 64 * 1024


CHANGES: dict[str, Callable[[SftpSite, Path], Any]] = {
    "replaced": lambda site, path: site.put("b.csv", LARGE[::-1], 1_700_000_001).replace(path),
    "removed": lambda site, path: path.unlink(),
    "appended": lambda site, path: os.truncate(path, len(LARGE) + 4),
    "truncated": lambda site, path: os.truncate(path, 5_000_000),
    "rewritten": lambda site, path: path.write_bytes(LARGE[::-1]),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changes_while_it_is_read(sftp_site: SftpSite, how: str) -> None:
    path = sftp_site.put("a.csv", LARGE, 1_700_000_000)
    found, changes = source(sftp_site, "a.csv"), [CHANGES[how]]

    async def read() -> None:
        server, file = await opened(sftp_site, "a.csv")

        def take(block: bytes) -> None:
            if changes:
                changes.pop()(sftp_site, path)

        async with server:
            await read_file(server, file.path, file.url, file.version, take)

    found.check()
    if how in (
        "replaced",
        "removed",
    ):  # what was opened is read to its end, and the name looked at afterwards
        anyio.run(read)
    else:
        with pytest.raises(FileChanged):
            anyio.run(read)
    with pytest.raises(SourceError, match=r"a\.csv was changed while it was read: submit the run again"):
        found.check_unchanged()


def test_a_run_ends_at_once_when_it_is_cancelled(sftp_site: SftpSite) -> None:
    """Even if the server says nothing more."""
    sftp_site.put("a.csv", b"id\n1\n")
    found = source(sftp_site, "a.csv")
    found.check()
    looks = 0

    def pause() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise KeyboardInterrupt
        assert sftp_site.process is not None
        os.kill(sftp_site.process.pid, signal.SIGSTOP)

    try:
        with pytest.raises(KeyboardInterrupt):
            found.check_unchanged(pause)
    finally:
        assert sftp_site.process is not None
        os.kill(sftp_site.process.pid, signal.SIGCONT)


@pytest.mark.thorough
def test_contents(sftp_site: SftpSite) -> None:
    """Size and time identify one, and its bytes where the flow says so."""

    def content(most: int = 1) -> Any:
        found = source(sftp_site, "a.csv")
        found.check()
        return found.content(None, most)

    sftp_site.put("a.csv", b"id\n1\n", 1_700_000_000)
    first = content()
    assert (first.bytes, first.digest) == (5, None)
    assert content() == first
    sftp_site.put("a.csv", b"id\n2\n", 1_700_000_001)
    assert content().seen != first.seen
    by_bytes = content(sys.maxsize)
    sftp_site.put("a.csv", b"id\n2\n", 1_700_000_002)
    assert content(sys.maxsize).digest == by_bytes.digest is not None
    sftp_site.put("a.csv", b"id\n3\n", 1_700_000_002)
    assert content(sys.maxsize).digest != by_bytes.digest


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (lambda ssh: ssh.ChannelOpenError(ssh.OPEN_CONNECT_FAILED, "SSH connection closed"), Cause.AWAY),
        (lambda ssh: ssh.SFTPConnectionLost("Connection lost"), Cause.AWAY),
        (lambda ssh: ssh.SFTPNoConnection("no connection"), Cause.AWAY),
        (lambda ssh: ssh.ChannelOpenError(ssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "no"), Cause.DENIED),
        (lambda ssh: ssh.SFTPPermissionDenied("no"), Cause.DENIED),
    ],
)
def test_a_connection_that_is_lost_as_sftp_begins_is_no_refusal(
    error: Callable[[Any], Exception], state: Cause
) -> None:
    """The run is tried again; one that was refused is not."""
    with pytest.raises(SftpTrouble) as caught, connection._sign_in_errors(SftpRoot("sftp://ann@host/in")):
        raise error(package("asyncssh"))
    assert caught.value.state == state
