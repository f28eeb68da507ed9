"""The file of a journal: which names it may have, who may use it, and what is said of one that is of no use."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from on_posix import posix_only

from lume_async import ConfigurationError, JournalError, RunRequest
from lume_async._batch import journal_file
from lume_async._batch.journal import Journal
from lume_async._batch.journal_file import held_paths, path_of

REQUEST = RunRequest("f:v1", "a.csv", {"text": "é" * 200}, force_rerun=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def fill(path: Path, items: int = 200) -> None:
    journal = Journal.open(path)
    for item in range(items):
        journal.sending(item, REQUEST, os.urandom(16).hex(), 1.0)
        journal.submitted(item, f"run_{os.urandom(16).hex()}", reused=False)
        journal.ended(item, {"id": "run_1", "status": "SUCCEEDED", "noise": os.urandom(40).hex()})
    journal.complete(items)
    journal.close()


def read_all(path: Path) -> int:
    journal = Journal.open(path)
    try:
        found = journal.rows(0, 10_000)
        return sum(journal.entry(item, REQUEST, rows) is not None for item, rows in found.items())
    finally:
        journal.close()


# Names


@pytest.mark.parametrize(
    "name", ["", ":memory:", "file:x", "file:x?mode=memory", "file:/tmp/x.db?vfs=memdb", "a\0b"]
)
def test_a_name_that_keeps_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="does not name a file"):
        path_of(name)


def test_any_other_name_is_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory", "./:memory:", "./file:x?mode=memory", "é\udcff.db", "a?b#c%20.db"):
        Journal.open(name).close()
        assert os.path.exists(os.path.join(tmp_path, name))


def test_an_entry_survives_a_power_cut(path: Path) -> None:
    journal = Journal.open(path)
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    journal.close()


# Who may use it


def test_a_journal_in_use_is_refused_and_free_again_after_a_kill(path: Path) -> None:
    hold = "import sys; from lume_async._batch.journal import Journal; j = Journal.open(sys.argv[1]);"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold + "print('held', flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="in use by another process"):
            Journal.open(path)
        holder.kill()
    Journal.open(path).close()


def test_an_opening_waits_for_the_closing_in_its_own_process(path: Path, tmp_path: Path) -> None:
    first = Journal.open(path)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    opened: list[Journal] = []
    second = threading.Thread(target=lambda: opened.append(Journal.open(link)))
    second.start()
    assert not opened
    first.close()
    second.join(5)
    opened[0].close()


def test_a_journal_that_this_process_keeps_is_refused_in_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Journal.open(path)
    monkeypatch.setattr(journal_file, "CLOSING", 0.01)
    with pytest.raises(ConfigurationError, match="in use by this process"):
        Journal.open(path)
    first.close()
    Journal.open(path).close()


@posix_only
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_the_journal_to_its_parent(path: Path) -> None:
    program = """
import gc, os, sys
from lume_async import RunRequest
from lume_async._batch import journal_file
from lume_async._batch.journal_file import held_paths
from lume_async._batch.journal import Journal

journal = Journal.open(sys.argv[1])
journal.sending(0, RunRequest("f:v1", "a"), "key", 1.0)
child = os.fork()
if not child:
    del journal
    gc.collect()
    journal_file.CLOSING = 0.0
    try:
        Journal.open(sys.argv[1])
    except Exception as error:
        assert "another process" in str(error), error
    else:
        raise AssertionError("two have it")
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert os.path.exists(sys.argv[1] + "-wal")
journal.sending(1, RunRequest("f:v1", "b"), "key", 1.0)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    journal = Journal.open(path)
    assert len(journal.rows(0, 10)) == 2
    journal.close()


# What is of no use


def mkfifo(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes in folders")
    os.mkfifo(path)


@pytest.mark.parametrize("content", [b"not a database, but text that is longer than a header " * 20, b"x"])
def test_a_file_of_something_else_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not a journal"):
        Journal.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_not_touched(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (a)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not a journal"):
        Journal.open(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="its folder does not exist"):
        Journal.open(tmp_path / "nowhere" / "state.db")


@pytest.mark.parametrize("make", [os.mkdir, mkfifo, lambda path: os.symlink(os.devnull, path)])
def test_what_is_no_regular_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        Journal.open(path)


@pytest.mark.parametrize("size", [5, 16, 100, 4095, 4096, 10_000, 40_000])
def test_a_file_that_was_cut_off_is_damaged(path: Path, size: int) -> None:
    fill(path)
    assert path.stat().st_size > 40_000
    os.truncate(path, size)
    with pytest.raises(ConfigurationError, match=r"damaged .*restore it from a backup, or start a new one"):
        Journal.open(path)


def test_a_file_that_lost_all_but_its_log_is_damaged(path: Path) -> None:
    journal = Journal.open(path)
    journal.sending(0, REQUEST, "key", 1.0)
    copy = path.with_name("copy.db")
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    copy.touch()
    journal.close()
    with pytest.raises(ConfigurationError, match="damaged"):
        Journal.open(copy)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a batch as a kill leaves them: what was recorded stands in the log only."""
    path, folder = tmp_path_factory.mktemp("begun") / "state.db", tmp_path_factory.mktemp("killed")
    journal = Journal.open(path)
    for item in range(6):
        journal.sending(item, REQUEST, os.urandom(16).hex(), 1.0)
        journal.submitted(item, f"run_{item}", reused=False)
    for end in ("", "-wal", "-mark"):
        shutil.copy(f"{path}{end}", folder)
    journal.close()
    assert os.listdir(path.parent) == [path.name]  # one that was closed is one file
    return folder / path.name


def copied(killed: Path, path: Path, *ends: str) -> None:
    for end in ends:
        shutil.copy(f"{killed}{end}", f"{path}{end}")


def flipped(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0x41
    file.write_bytes(content)


def test_what_a_kill_leaves_is_read_with_its_mark_or_without(killed: Path, path: Path) -> None:
    copied(killed, path, "", "-wal", "-mark")
    assert read_all(path) == 6
    assert os.listdir(path.parent) == [path.name]
    copied(killed, path, "", "-wal")
    assert read_all(path) == 6
    copied(killed, path, "", "-wal", "-mark")
    flipped(Path(f"{path}-mark"), 3)
    assert read_all(path) == 6


def test_a_log_that_lost_anything_is_damaged(killed: Path, path: Path) -> None:
    log = Path(f"{path}-wal")
    whole = Path(f"{killed}-wal").stat().st_size
    for place in range(0, whole, whole // 60):
        for harm in (flipped, os.truncate):
            copied(killed, path, "", "-wal", "-mark")
            harm(log, place)
            with pytest.raises(
                ConfigurationError, match=r"damaged \(\d+ of its \d+ entr(y|ies) (is|are) missing"
            ):
                Journal.open(path)
    copied(killed, path, "", "-mark")
    log.unlink(missing_ok=True)
    with pytest.raises(ConfigurationError, match=r"damaged \(\d+ of its \d+ entr(y|ies) (is|are) missing"):
        Journal.open(path)


def test_to_begin_anew_under_the_same_name_its_mark_has_to_go_and_the_message_says_so(
    killed: Path, path: Path
) -> None:
    copied(killed, path, "-mark")
    for _ in range(2):
        with pytest.raises(
            ConfigurationError, match=r"start a new one: .* after removing .*-wal' and .*-mark'"
        ):
            Journal.open(path)

    for end in ("", "-wal", "-mark"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    assert read_all(path) == 0


def test_a_copy_without_its_log_is_damaged(killed: Path, path: Path) -> None:
    copied(killed, path, "")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="its -wal file is missing"):
            Journal.open(path)


def test_damaged_pages_are_told_before_anything_is_sent_or_when_they_are_read(path: Path) -> None:
    """Of every page, at its beginning (SQLite's part), in the middle and at its end (entries)."""
    fill(path)
    whole = path.read_bytes()
    told: list[str] = []
    for page in range(len(whole) // 4096):
        for place in (0, 8, 100, 2048, 4000):
            start = page * 4096 + place
            path.write_bytes(whole[:start] + os.urandom(16) + whole[start + 16 :])
            try:
                assert read_all(path) == 200
            except (ConfigurationError, JournalError) as error:
                told.append(str(error))
    assert (
        sum("damaged" in message for message in told) > len(told) * 0.8
    )  # and some are said to be no journal
    assert len(told) > len(whole) // 4096 * 3  # the rest hit bytes that hold nothing
    path.write_bytes(whole)
    assert read_all(path) == 200


def test_a_full_disk_says_so_and_what_was_recorded_is_kept(path: Path) -> None:
    journal = Journal.open(path)
    journal.sending(0, REQUEST, "key", 1.0)
    journal._connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(JournalError, match=r"can't be written \(database or disk is full\).*same journal"):
        for item in range(1, 1000):
            journal.sending(item, REQUEST, os.urandom(100).hex(), 1.0)
    last = item
    journal.close()
    assert read_all(path) == last


def unprivileged(program: str, *arguments: object) -> str:
    """Run it as somebody whom file permissions bind."""
    become = "import os\nif os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    command = [
        sys.executable,
        "-c",
        "import sqlite3, lume_async._batch.journal\n" + become + program,
        *map(str, arguments),
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@posix_only
@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_a_read_only_file_or_folder_says_what_must_be_writable(read_only: str) -> None:
    folder = Path(os.path.realpath(subprocess.check_output(["mktemp", "-d"], text=True).strip()))
    try:
        path = folder / "state.db"
        Journal.open(path).close()
        path.chmod(0o444 if read_only == "file" else 0o666)
        folder.chmod(0o777 if read_only == "file" else 0o555)
        said = unprivileged(
            "import sys\nfrom lume_async._batch.journal import Journal\n"
            "try: Journal.open(sys.argv[1])\nexcept Exception as error: print(type(error).__name__, error)",
            path,
        )
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
    assert said.startswith("ConfigurationError")
    assert "must be writable" in said


# Its mark


def test_the_mark_is_removed_before_this_process_can_open_the_journal_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be that of the next one."""
    journal, release, there = Journal.open(path), held_paths.release, list[bool]()

    def released(name: str) -> None:
        there.append(os.path.exists(f"{name}-mark"))
        release(name)

    monkeypatch.setattr(held_paths, "release", released)
    journal.close()
    assert there == [False]


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_a_mark_that_another_process_has_by_now_is_left_to_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    def refuse(_path: str) -> None:
        raise error

    journal = Journal.open(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        journal.close()
    Journal.open(path).close()
