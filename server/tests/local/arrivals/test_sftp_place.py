"""A folder of OpenSSH's server as a place where files arrive."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from on_posix import posix_only
from sftp_server import SftpSite

from lume_local._arrivals import sftp_place
from lume_local._arrivals.place import ArrivalEntry, ArrivalPlace, PlaceTrouble
from lume_local._arrivals.settings import Arrival, read_arrivals
from lume_local._arrivals.watcher import opened
from lume_local._flow.fields import FlowError
from lume_local._runs.sources.paths import Roots
from lume_local._sftp import root, session
from lume_local._sftp.root import SftpRoot
from lume_local._sftp.session import SftpSession

pytestmark = posix_only


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PAUSE", 0.001)


def arrival_of(site: SftpSite, pattern: str = "in/*.csv", **values: str) -> Arrival:
    settings = {"name": '"acme"', "flow": '"orders"', "from": f'"{site.url}/{pattern}"'} | values
    (arrival,) = read_arrivals("[[arrival]]\n" + "\n".join(f"{key} = {one}" for key, one in settings.items()))
    return arrival


def roots_of(site: SftpSite) -> Roots:
    return Roots.of((site.folder,), site.folder / ".lume", sites=(SftpRoot.of(site.root),))


@pytest.fixture
async def place(sftp_site: SftpSite) -> AsyncIterator[ArrivalPlace]:
    async with opened(arrival_of(sftp_site, after='{ move = "done/" }'), roots_of(sftp_site)) as place:
        yield place


async def listed(place: ArrivalPlace) -> dict[str, ArrivalEntry]:
    return {one.path.rpartition("/files/")[2]: one async for page in place.pages() for one in page}


async def test_it_is_listed(sftp_site: SftpSite, place: ArrivalPlace) -> None:
    for name in ("in/a.csv", "in/b.csv", "in/c.txt", "in/.d.csv", "in/deep/e.csv", "in/done/f.csv", "g.csv"):
        sftp_site.put(name, b"no\n1\n", 1_700_000_000)
    found = await listed(place)
    assert sorted(found) == ["in/a.csv", "in/b.csv"]
    one = found["in/a.csv"]
    url = f"{sftp_site.url}/in/a.csv"
    assert one == ArrivalEntry(url, "5-1700000000000000000", 5, 1_700_000_000.0)
    assert await place.look([url, f"{sftp_site.url}/in/none.csv", f"{sftp_site.url}/in/c.txt"]) == [
        one,
        None,
        None,
    ]
    assert await place.look([f"{sftp_site.url}/in/deep", "elsewhere"]) == [None, None]
    (content,) = await place.contents([one])
    sftp_site.put("in/a.csv", b"no\n1\n", 1_700_000_001)
    again = (await listed(place))["in/a.csv"]
    assert (again.seen != one.seen, await place.contents([again, one])) == (True, [content, None])
    sftp_site.put("in/a.csv", b"no\n2\n", 1_700_000_002)
    assert (await place.contents([(await listed(place))["in/a.csv"]])) != [content]
    assert await place.exist([url, f"{sftp_site.url}/in/a.done"]) == [1_700_000_002.0, None]
    assert place.watched == "a listing every 10 s"


async def test_any_depth(sftp_site: SftpSite) -> None:
    for name in ("in/a.csv", "in/x/b.csv", "in/x/y/c.csv", "in/.git/d.csv", "in/z/e.txt"):
        sftp_site.put(name, b"")
    (sftp_site.files / "in/link").symlink_to(sftp_site.files / "in/x")
    for pattern, names in {
        "in/**/*.csv": ["in/a.csv", "in/x/b.csv", "in/x/y/c.csv"],
        "in/*/*.csv": ["in/link/b.csv", "in/x/b.csv"],
        "in/x/y/c.csv": ["in/x/y/c.csv"],
    }.items():
        async with opened(arrival_of(sftp_site, pattern), roots_of(sftp_site)) as place:
            found = await listed(place)
            assert sorted(found) == names
            assert await place.look([one.path for one in found.values()]) == list(found.values())


async def test_what_can_not_be_a_source_says_why(sftp_site: SftpSite, place: ArrivalPlace) -> None:
    sftp_site.put("in/a.csv", b"")
    (sftp_site.files / "in/inner.csv").symlink_to("a.csv")
    (sftp_site.files / "in/outer.csv").symlink_to(sftp_site.folder / "key")
    (sftp_site.files / "in/dangling.csv").symlink_to("nowhere")
    os.mkfifo(sftp_site.files / "in/pipe.csv")
    Path(os.fsdecode(bytes(sftp_site.files) + b"/in/caf\xe9.csv")).write_bytes(b"")
    found = {name: one.problem for name, one in (await listed(place)).items()}
    assert found == {
        "in/a.csv": "",
        "in/inner.csv": "",
        "in/outer.csv": f"it is a link: {sftp_site.url}/in/outer.csv is a link that leads out of {sftp_site.url}",
        "in/pipe.csv": "it is not a regular file: put a file there that can be read twice",
        r"in/caf\udce9.csv": "its name is not UTF-8, or has a control character: rename it",
    }
    (link,) = await place.look([f"{sftp_site.url}/in/outer.csv"])
    assert link is not None
    assert link.problem == found["in/outer.csv"]


async def test_pages_are_bounded(sftp_site: SftpSite, place: ArrivalPlace) -> None:
    for n in range(2500):
        sftp_site.put(f"in/{n}.csv", b"")
    pages = [len(page) async for page in place.pages()]
    assert pages == [1000, 1000, 500]


async def test_a_file_that_is_large_is_not_read(
    sftp_site: SftpSite, place: ArrivalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp_place, "MOST_READ", 4)
    sftp_site.put("in/a.csv", b"no\n1\n", 1_700_000_000)
    first = await place.contents(list((await listed(place)).values()))
    sftp_site.put("in/a.csv", b"no\n2\n", 1_700_000_000)
    assert await place.contents(list((await listed(place)).values())) == first
    sftp_site.put("in/a.csv", b"no\n2\n", 1_700_000_001)
    assert await place.contents(list((await listed(place)).values())) != first


async def test_a_folder_that_is_not_there(sftp_site: SftpSite, place: ArrivalPlace) -> None:
    with pytest.raises(PlaceTrouble, match=r"there is no folder sftp://.*/in: create it"):
        await listed(place)
    sftp_site.put("in/a.csv", b"")
    sftp_site.put("in/deep.csv/b.csv", b"")
    assert sorted(await listed(place)) == ["in/a.csv"]


async def test_troubles_have_one_clear_message_each(
    sftp_site: SftpSite, place: ArrivalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sftp_site.put("in/a.csv", b"")
    await listed(place)
    sftp_site.stop()
    with pytest.raises(PlaceTrouble, match=r"can't be reached: .*check the host, its port and the network"):
        await listed(place)
    sftp_site.new_host_key()
    sftp_site.start()
    with pytest.raises(PlaceTrouble, match="is not used: its host key has changed"):
        await listed(place)
    with pytest.raises(PlaceTrouble, match="is not used: its host key has changed"):
        await place.look([f"{sftp_site.url}/in/a.csv"])
    sftp_site.trust()
    assert list(await listed(place)) == ["in/a.csv"], "as soon as it is trusted"
    monkeypatch.setattr(root, "ANSWER", 0.2)
    monkeypatch.setattr(root, "CONNECT", 0.2)
    assert sftp_site.process is not None
    sftp_site.signal_connections(signal.SIGSTOP)
    os.kill(sftp_site.process.pid, signal.SIGSTOP)
    with pytest.raises(PlaceTrouble, match=r"answer"):
        await listed(place)
    os.kill(sftp_site.process.pid, signal.SIGCONT)
    (sftp_site.folder / "authorized_keys").write_text("")
    sftp_site.stop()
    sftp_site.start()
    monkeypatch.setattr(root, "CONNECT", 20.0)
    with pytest.raises(PlaceTrouble, match=f"refused to sign in with {sftp_site.folder}/key"):
        await listed(place)


async def test_a_place_outside_of_the_roots(sftp_site: SftpSite) -> None:
    arrival = arrival_of(sftp_site)
    with pytest.raises(PlaceTrouble, match="lies outside of the SFTP servers that this server may use: none"):
        async with opened(arrival, Roots.of((sftp_site.folder,), sftp_site.folder)):
            raise AssertionError


async def test_moves(sftp_site: SftpSite, place: ArrivalPlace) -> None:
    sftp_site.put("in/a.csv", b"first", 1_700_000_000)
    one = (await listed(place))["in/a.csv"]
    assert await place.move(one, f"{sftp_site.url}/in/done/a.csv") == f"{sftp_site.url}/in/done/a.csv"
    assert (sftp_site.files / "in/done/a.csv").read_bytes() == b"first"
    assert await place.move(one, f"{sftp_site.url}/in/done/a.csv") is None, "it was moved"
    sftp_site.put("in/a.csv", b"other", 1_700_000_001)
    assert await place.move(one, f"{sftp_site.url}/in/done/a.csv") is None, "it is another one"
    two = (await listed(place))["in/a.csv"]
    assert await place.move(two, f"{sftp_site.url}/in/done/a.csv") == f"{sftp_site.url}/in/done/a-2.csv"
    there = {path.name: path.read_bytes() for path in (sftp_site.files / "in/done").iterdir()}
    assert there == {"a.csv": b"first", "a-2.csv": b"other"}
    assert await listed(place) == {}


async def test_a_move_that_is_interrupted(
    sftp_site: SftpSite, place: ArrivalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two requests: the file is in one of the two places, and the move is finished later."""
    for step in range(7):
        for is_replaced in (False, True):
            await interrupted_move(sftp_site, place, monkeypatch, step, is_replaced)
            shutil.rmtree(sftp_site.files / "in")


async def interrupted_move(
    sftp_site: SftpSite, place: ArrivalPlace, monkeypatch: pytest.MonkeyPatch, step: int, is_replaced: bool
) -> None:
    path = sftp_site.put("in/a.csv", b"first", 1_700_000_000)
    sftp_site.put("in/done/a.csv", b"taken", 1_600_000_000)
    one = (await listed(place))["in/a.csv"]
    calls = 0

    def interrupted(name: str) -> Any:
        original = getattr(SftpSession, name)

        async def call(self: SftpSession, *values: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise KeyboardInterrupt
            return await original(self, *values)

        return call

    with monkeypatch.context() as patch:
        for name in ("entry", "make_folders", "rename", "remove"):
            patch.setattr(SftpSession, name, interrupted(name))
        with pytest.raises(KeyboardInterrupt):
            await place.move(one, f"{sftp_site.url}/in/done/a.csv")
    contents = {file.read_bytes() for file in (sftp_site.files / "in").rglob("*") if file.is_file()}
    assert contents == {b"first", b"taken"}
    if is_replaced:
        sftp_site.put("in/a.csv", b"new", 1_700_000_001)
    was_taken = not path.exists() or path.read_bytes() == b"new"
    await place.move(one, f"{sftp_site.url}/in/done/a.csv")
    there = {file.name: file.read_bytes() for file in (sftp_site.files / "in").rglob("*") if file.is_file()}
    if is_replaced:
        assert was_taken
        assert path.read_bytes() == b"new", "what is new stays"
        assert not [name for name in there if name.endswith(".lume")]
    else:
        assert there == {"a.csv": b"taken", "a-2.csv": b"first"}


async def test_a_file_that_is_replaced_while_it_is_moved_stays(
    sftp_site: SftpSite, place: ArrivalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sftp_site.put("in/a.csv", b"first", 1_700_000_000)
    one = (await listed(place))["in/a.csv"]
    original, times = SftpSession.rename, 0

    async def replaced(self: SftpSession, *values: Any) -> bool:
        nonlocal times
        times += 1
        if times == 1:
            sftp_site.put("in/a.csv", b"second", 1_700_000_001)
        return await original(self, *values)

    monkeypatch.setattr(SftpSession, "rename", replaced)
    assert await place.move(one, f"{sftp_site.url}/in/done/a.csv") is None
    assert path.read_bytes() == b"second"
    assert list((sftp_site.files / "in/done").iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("sftp://host/a/../*.csv", r"has a part that is '.' or '..'"),
        ("sftp://host", r"names a server: write \"sftp://host/\*\""),
        ("sftp://h*st/in/*.csv", "is not the URL of a file"),
        ("sftp://me:secret@host/in/*.csv", "without a password"),
    ],
)
def test_mistakes_in_the_settings(uri: str, why: str) -> None:
    with pytest.raises(FlowError, match=why) as error:
        read_arrivals(f'[[arrival]]\nname = "a"\nflow = "f"\nfrom = "{uri}"\n')
    assert "secret" not in str(error.value)


async def test_it_ends_while_the_server_is_silent(sftp_site: SftpSite, place: ArrivalPlace) -> None:
    sftp_site.put("in/a.csv", b"")
    await listed(place)
    assert sftp_site.signal_connections(signal.SIGSTOP)
    with anyio.move_on_after(0.2) as scope:
        await listed(place)
    assert scope.cancelled_caught
    sftp_site.signal_connections(signal.SIGCONT)
    assert list(await listed(place)) == ["in/a.csv"]
