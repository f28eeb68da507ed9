"""Arrived files in the state: a path takes 85 bytes, each further content 50. They are kept permanently."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Collection, Sequence

from lume_local._runs.sources.source_files import batch_of
from lume_local._runs.sql.operation import Sql, marks, reading, statement, writing
from lume_local._runs.sql.sql_outbox import SqlMessages
from lume_local._runs.sql.sql_purge import look_again
from lume_local._runs.sql.tables import FLOW, UNREAD
from lume_local._runs.store.arrived import ASIDE, Arrived, KnownPath, Move, RefusedFile, mark_of, place_of
from lume_local._runs.store.records import ACTIVE, NewRun

UNREAD_RUN = f"""
SELECT seq, arrival FROM runs WHERE {FLOW} = ? AND source_key IN (?, ?) AND {UNREAD} ORDER BY seq DESC LIMIT 1
"""
"""The last run of a source, if it was an arrived file's and has ended without output; of its key and its batch."""
ARRIVALS = f"""
CREATE TABLE arrivals (name TEXT PRIMARY KEY, files INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE arrived (
    place BLOB NOT NULL,
    content BLOB NOT NULL,
    run INTEGER,
    PRIMARY KEY (place, content)
) STRICT, WITHOUT ROWID;
CREATE TABLE arrived_paths (place BLOB PRIMARY KEY, mark BLOB NOT NULL, run INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE arrival_refusals (
    place BLOB PRIMARY KEY,
    arrival TEXT NOT NULL,
    path TEXT NOT NULL,
    seen TEXT NOT NULL,
    why TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refusals_by_age ON arrival_refusals (arrival, at);
CREATE TABLE arrival_moves (
    run INTEGER NOT NULL,
    place BLOB NOT NULL,
    arrival TEXT NOT NULL,
    path TEXT NOT NULL,
    seen TEXT NOT NULL,
    stays INTEGER NOT NULL DEFAULT 0,
    content BLOB NOT NULL,
    PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX moves_of ON arrival_moves (arrival) WHERE stays = 0;
CREATE INDEX by_arrival ON runs (arrival, seq) WHERE arrival IS NOT NULL;
CREATE INDEX unread ON runs ({FLOW}, source_key) WHERE {UNREAD};
"""
"""The tables of arrivals. `place` stands for an arrival and a path; see `Arrived`.

`arrived` has every content; `arrived_paths` has a path's last record and newest run, so that an event costs the same
however many contents its path has had. `runs.arrival` marks the last run of a file. One run may have many files to
move: one for each path that received its content. If it has ended without output, they stay until the next run of its
source, submitted by a person or for new content, takes them over.
"""
_AT_ONCE = 500
"""Files per lookup statement."""
IS_ASIDE = f"substr(seen, 1, {len(ASIDE)}) = '{ASIDE}'"
_OF_RUN = "runs.seq, status, run_id, source_path, source_key, force_rerun, run_metadata, submitted_by"
_ENDED = f"runs.status NOT IN {ACTIVE}"


def unread_of(new: NewRun) -> list[str]:
    """Return the values of `UNREAD_RUN` for a new run: a person may name the layout that was not recognised."""
    return [new.flow_version.partition(":")[0], new.source_key, batch_of(new.source_key)]


class SqlArrivals:
    """The arrived files. A run and its file are recorded in one transaction (`NewRun.arrived`)."""

    def __init__(self, sql: Sql, messages: SqlMessages) -> None:
        self.sql, self._messages = sql, messages

    @reading
    async def settled_of(self, arrival: str, files: Sequence[tuple[str, str]]) -> list[bool]:
        """Return for each path and `seen` whether it was submitted or refused in its current form."""
        found = []
        for at in range(0, len(files), _AT_ONCE):
            some = files[at : at + _AT_ONCE]
            places = [place_of(arrival, path) for path, _ in some]
            query = f"SELECT place, mark FROM arrived_paths WHERE place IN ({marks(places)})"
            noted = {(place, mark) for place, mark in await self.sql.rows(query, places)}
            settled = {
                one for place, one in zip(places, some, strict=True) if (place, mark_of(one[1])) in noted
            }
            if left := [one for one in some if one not in settled]:
                places = [place_of(arrival, path) for path, _ in left]
                query = f"SELECT path, seen FROM arrival_refusals WHERE place IN ({marks(places)})"
                settled |= {(path, seen) for path, seen in await self.sql.rows(query, places)}
            found += [one in settled for one in some]
        return found

    @statement
    async def known(self, arrived: Arrived) -> KnownPath | None:
        """Return the record of the path; None if nothing of it was ever submitted."""
        row = await self.sql.row(
            f"SELECT same.content IS NOT NULL, latest.run, runs.run_id, runs.status, (SELECT {IS_ASIDE} "
            "FROM arrival_moves AS moves WHERE moves.run = same.run AND moves.place = same.place) "
            "FROM arrived_paths AS latest "
            "LEFT JOIN arrived AS same ON same.place = latest.place AND same.content = ? "
            "LEFT JOIN runs ON runs.seq = coalesce(same.run, latest.run) WHERE latest.place = ?",
            [arrived.digest, arrived.place],
        )
        if row is None:
            return None
        has_content, run, run_id, status, is_aside = row
        is_purged = run is not None and run_id is None
        return KnownPath(bool(has_content), run_id, status, is_purged, bool(is_aside))

    @writing
    async def note(self, arrived: Arrived, run_id: str | None) -> None:
        """Record a content that needs no new run: this one has read it; None keeps the known run, if any."""
        await self._lock(arrived.arrival)
        row = await self.sql.row("SELECT seq FROM runs WHERE run_id = ?", [run_id])
        await self.add(arrived, None if row is None else row[0])
        self.sql.must_last()

    async def _lock(self, arrival: str) -> None:
        """Keep files from being recorded for a run while another takes over its files: they would be left behind."""
        await self.sql.lock("arrival", arrival)

    async def submitted(self, new: NewRun, run: int) -> str | None:
        """Record the file of a new run, or the ones that it takes over, within a transaction; return its arrival."""
        arrival = None if new.arrived is None else new.arrived.arrival
        before = await self.sql.row(UNREAD_RUN, unread_of(new))
        if before is not None:
            await self._lock(before[1])
        # If several new runs come at once, such as of two versions, one takes it over.
        if before is not None and await self.sql.changed(
            "UPDATE runs SET arrival = NULL, purged = CASE purged WHEN 1 THEN 2 ELSE purged END "
            "WHERE seq = ? AND arrival IS NOT NULL",
            [before[0]],
        ):
            arrival = arrival or before[1]
            await self.sql.change(
                "UPDATE arrival_moves SET run = ?, stays = 0 WHERE run = ?", [run, before[0]]
            )
            # A repeated delivery belongs to the run that has read it.
            await self.sql.change(
                "UPDATE arrived SET run = ? "
                "WHERE (place, content) IN (SELECT place, content FROM arrival_moves WHERE run = ?)",
                [run, run],
            )
        if arrival is not None:
            await self.sql.change("UPDATE runs SET arrival = ? WHERE seq = ?", [arrival, run])
        if new.arrived is not None:
            await self.add(new.arrived, run)
        return arrival

    async def add(self, arrived: Arrived, run: int | None) -> None:
        """Record a content, within a transaction."""
        key = [arrived.place, arrived.digest]
        is_new = await self.sql.changed(
            "INSERT INTO arrived VALUES (?, ?, ?) ON CONFLICT (place, content) DO NOTHING", [*key, run]
        )
        if not is_new and run is not None:
            await self.sql.change("UPDATE arrived SET run = ? WHERE place = ? AND content = ?", [run, *key])
        await self.sql.change(
            "INSERT INTO arrived_paths VALUES (?, ?, ?) ON CONFLICT (place) DO UPDATE SET mark = excluded.mark, "
            "run = CASE WHEN excluded.run > coalesce(arrived_paths.run, 0) THEN excluded.run "
            "ELSE arrived_paths.run END",
            [arrived.place, arrived.mark, run],
        )
        if is_new:
            await self.sql.change(
                "INSERT INTO arrivals VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET files = arrivals.files + 1",
                [arrived.arrival],
            )
        await self._forget(arrived.place)
        if arrived.move:
            await self.sql.change(
                "INSERT INTO arrival_moves (run, place, arrival, path, seen, content) "
                "SELECT run, place, ?, ?, ?, content FROM arrived JOIN runs ON runs.seq = run "
                "WHERE place = ? AND content = ? ON CONFLICT (run, place) "
                "DO UPDATE SET seen = excluded.seen, content = excluded.content, stays = 0",
                [arrived.arrival, arrived.path, arrived.seen, *key],
            )

    @writing
    async def refuse(self, refusal: RefusedFile, notice: bytes | None = None) -> bool:
        """Record a refusal until the file changes; return whether it is new. If so, the notice is added, too."""
        place = place_of(refusal.arrival, refusal.path)
        before = await self.sql.row("SELECT seen, why FROM arrival_refusals WHERE place = ?", [place])
        if before is not None and tuple(before) == (refusal.seen, refusal.why):
            return False
        await self.sql.change(
            "INSERT INTO arrival_refusals VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (place) DO UPDATE "
            "SET seen = excluded.seen, why = excluded.why, at = excluded.at",
            [place, refusal.arrival, refusal.path, refusal.seen, refusal.why, refusal.at],
        )
        if notice is not None:
            await self._messages.add(notice)
        self.sql.must_last()
        return True

    @statement
    async def refused(self, arrival: str, limit: int, paths: Collection[str] = ()) -> list[RefusedFile]:
        """Return the refusals, all or of these paths, newest first."""
        of_paths = f" AND path IN ({marks(paths)})" if paths else ""
        rows = await self.sql.rows(
            f"SELECT path, seen, why, at FROM arrival_refusals WHERE arrival = ?{of_paths} ORDER BY at DESC LIMIT ?",
            [arrival, *paths, limit],
        )
        return [RefusedFile(arrival, path, seen, why, at) for path, seen, why, at in rows]

    @writing
    async def forget_refusals(
        self, arrival: str, paths: Collection[str] | None = None, *, with_aside: bool = False
    ) -> None:
        """Forget refusals so that these files, or all of the arrival, are decided anew; others were put aside."""
        where = "" if with_aside else f" AND NOT {IS_ASIDE}"
        if paths is None:
            await self.sql.change(f"DELETE FROM arrival_refusals WHERE arrival = ?{where}", [arrival])
        for path in paths or ():
            await self._forget(place_of(arrival, path), where)

    async def _forget(self, place: bytes, where: str = "") -> None:
        await self.sql.change(f"DELETE FROM arrival_refusals WHERE place = ?{where}", [place])

    @reading
    async def counts(self, arrival: str) -> tuple[int, int]:
        """Return how many contents were submitted or are otherwise known, and how many files are refused."""
        files = await self.sql.row("SELECT files FROM arrivals WHERE name = ?", [arrival])
        refused = "SELECT count(*) FROM arrival_refusals WHERE arrival = ?"
        return (0 if files is None else files[0]), (await self.sql.one(refused, [arrival]))[0]

    @statement
    async def moves(self, arrival: str, run_id: str | None = None) -> list[Move]:
        """Return the files to move or keep now that their run has ended, of one run or of all."""
        what, where = f"SELECT path, seen, {_OF_RUN}", f"arrival_moves.arrival = ? AND {_ENDED}"
        query = f"{what} FROM arrival_moves JOIN runs ON runs.seq = run WHERE {where} AND stays = 0"
        values = [arrival]
        if run_id is not None:
            query = f"{what} FROM runs JOIN arrival_moves ON run = runs.seq WHERE {where} AND runs.run_id = ?"
            values = [arrival, run_id]
        return [Move(arrival, *row) for row in await self.sql.rows(query, values)]

    @statement
    async def put_aside(self, run_ids: Collection[str]) -> dict[str, str]:
        """Return where the files of these runs lie, by run, if they were put aside."""
        if not run_ids:
            return {}
        rows = await self.sql.rows(
            "SELECT run_id, seen FROM runs JOIN arrival_moves ON run = runs.seq "
            f"WHERE run_id IN ({marks(run_ids)}) AND {IS_ASIDE}",
            [*run_ids],
        )
        return {run_id: seen.removeprefix(ASIDE) for run_id, seen in rows}

    @statement
    async def failed(
        self, arrival: str, flow: str, paths: Collection[str], after: str, limit: int
    ) -> list[Move]:
        """Return the files whose last runs have no output, all or of these sources, by source key, `after` one."""
        of_paths = f" AND source_path IN ({marks(paths)})" if paths else ""
        query = (  # by the index of such runs
            f"SELECT coalesce(path, source_path), coalesce(seen, ''), {_OF_RUN} FROM runs LEFT JOIN arrival_moves "
            f"ON run = runs.seq WHERE {UNREAD.replace('arrival', 'runs.arrival')} AND {FLOW} = ? AND source_key > ? "
            f"AND coalesce(runs.arrival, '') = ?{of_paths} ORDER BY source_key LIMIT ?"
        )
        rows = await self.sql.rows(query, [flow.partition(":")[0], after, arrival, *paths, limit])
        return [Move(arrival, *row) for row in rows]

    @writing
    async def moved(self, move: Move, *, is_gone: bool, aside: str = "") -> None:
        """Record that the file was moved, maybe `aside`, or stays until another run of it has ended.

        Once it `is_gone`, a later file under its path is a different one, even if identical.
        """
        place = place_of(move.arrival, move.path)
        left, values = "DELETE FROM arrival_moves", list[str]()
        if not move.is_due:
            left = "UPDATE arrival_moves SET stays = 1, seen = ?"
            values = [ASIDE + aside if aside else move.seen]
        await self.sql.change(
            f"{left} WHERE run = ? AND place = ? AND seen = ?", [*values, move.run_seq, place, move.seen]
        )
        if move.is_due:
            await look_again(self.sql, "seq = ?", [move.run_seq])
        if is_gone:
            await self.sql.change(
                "UPDATE arrived_paths SET mark = ? WHERE place = ? AND mark = ?",
                [b"", place, mark_of(move.seen)],
            )
        self.sql.must_last()
