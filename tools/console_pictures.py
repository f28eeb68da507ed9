"""Make docs/img/console-*.png: each page of the console in chromium, wide and narrow, light and dark.

    python tools/console_pictures.py [PAGE ...]      # needs chromium: ./scripts/components

All runs are real runs of an embedded server. Their times are spread afterwards to create a past.
"""

import json
import random
import shutil
import sqlite3
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, expect, sync_playwright

import lume_local
import lume_sync as lume

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "img"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SIZES = {"wide": (1280, 1200), "narrow": (390, 1500)}
"""Width and height in pixels; a shorter page keeps its height."""
BATCHES, HOURS, DAYS, SLOWEST = 60, 47, 28, 20_000
CITIES = ("berlin", "lisbon", "lyon", "manchester", "porto-alegre", "austin")
CLEANER = ROOT / "examples" / "flows" / "customer_cleaner.v1.toml"
CHANGES = (
    ('version = "v1"', 'version = "v2"\ndescription = "Customers of all regions, one checked row each."'),
    ("maxLength = 80", "maxLength = 80\nrequired = true"),
    ("'BRASIL' THEN 'BR'", "'BRASIL' THEN 'BR'\n    WHEN 'PORTUGAL' THEN 'PT'"),
    ('"GB", "BR"]', '"GB", "BR", "PT"]'),
)
SLOW = """
flow = "fingerprints"
version = "v1"
description = "Slow on purpose."
[columns.id]
type = "integer"
[columns.distance]
sql = "levenshtein(repeat('ab', 550), repeat(lpad(id, 5, '0'), 550))"
type = "integer"
"""
ORDERS = """
flow = "orders"
version = "v1"
description = "Orders of the shops, by the line."
[columns.order_id]
type = "integer"
required = true
unique = true
[columns.amount]
type = "number"
sql_type = "DECIMAL(12,2)"
minimum = 0
[columns.status]
enum = ["open", "paid", "sent"]
"""
FOREIGN = "".join(
    f"{line}\n"
    for line in (
        "Bestell-Nr.;Betrag;Zustand;Kommentar",
        *(
            f"{n};{n % 7 + 1},{n * 37 % 1000:03};{('Open', 'Paid', 'verschickt')[n % 3]};"
            for n in range(1, 200)
        ),
    )
)
"""Orders in a layout that the flow does not know, with ambiguous amounts."""


def write_home(home: Path) -> list[tuple[str, str]]:
    """Write flows and sources; return the runs to submit, in order."""
    flows = home / "flows"
    flows.mkdir(parents=True)
    text = CLEANER.read_text()
    (flows / "cleaner.v1.toml").write_text(text)
    for old, new in CHANGES:
        assert old in text
        text = text.replace(old, new)
    for name, content in (("cleaner.v2", text), ("slow.v1", SLOW), ("orders.v1", ORDERS)):
        (flows / f"{name}.toml").write_text(content)
    (home / "lieferant.csv").write_text(FOREIGN)
    (home / "large.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(SLOWEST)))
    return [_source(home, number) for number in range(BATCHES)]


def _source(home: Path, number: int) -> tuple[str, str]:
    """Write a batch of customers or orders, some of them bad; return it and its flow version."""
    chance = random.Random(number)
    city, day = CITIES[number % len(CITIES)], number // len(CITIES) + 1
    if number % 5 == 4:
        name, flow = f"shops/{city}-{day:02}.csv", "orders:v1"
        states = ["open", "paid", "sent"] * 8 + (["lost"] if number % 2 else [])
        lines = (f"{n},{chance.randrange(1, 90000) / 100},{chance.choice(states)}" for n in range(1, 400))
        text = "order_id,amount,status\n" + "\n".join(lines)
    else:
        name, flow = f"crm/{city}-{day:02}.csv", f"customer_cleaner:v{1 if number < BATCHES // 2 else 2}"
        head, *rows = (ROOT / "examples" / "data" / "customers.csv").read_text().splitlines()
        text = "\n".join([head, *chance.sample(rows, chance.randrange(300, 2500))])
    if number % 23 != 7:  # one batch is missing
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    return flow, name


def spread(home: Path) -> None:
    """Spread the runs over time, and recount them: the triggers ignore changes of a time."""
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", isolation_level=None)) as db:
        count = db.execute("SELECT count(*) FROM runs").fetchone()[0]
        found = db.execute("SELECT seq, created_at, started_at, finished_at, stages FROM runs").fetchall()
        for seq, *times, stages in found:
            back = timedelta(hours=HOURS * (1 - seq / count) ** 1.4, minutes=7 * (seq % 5))
            moved = [one and _moved(one, back) for one in times]
            parts = [
                {
                    name: _moved(one, back) if name.endswith("_at") and one else one
                    for name, one in stage.items()
                }
                for stage in json.loads(stages)
            ]
            query = (
                "UPDATE runs SET created_at = ?, started_at = ?, finished_at = ?, stages = ? WHERE seq = ?"
            )
            db.execute(query, [*moved, json.dumps(parts), seq])
        db.execute("DELETE FROM run_counts")
        db.execute(
            "INSERT INTO run_counts SELECT substr(created_at, 1, 13), flow_version, status, count(*), "
            "total(metrics ->> 'rows_read'), total(metrics ->> 'rows_rejected') FROM runs GROUP BY 1, 2, 3"
        )


def spread_rejects(home: Path) -> None:
    """Spread the rejected rows over a month, and recount each day; some were closed since."""
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", isolation_level=None)) as db:
        last = db.execute("SELECT max(seq) FROM rejected").fetchone()[0]
        for seq, at in db.execute("SELECT seq, at FROM rejected").fetchall():
            back = timedelta(days=DAYS * (1 - seq / last) ** 1.4)
            db.execute("UPDATE rejected SET at = ? WHERE seq = ?", [_moved(at, back), seq])
        db.execute("DELETE FROM inbox_days")
        db.execute(
            "INSERT INTO inbox_days SELECT inbox.id, substr(at, 1, 10), sum(count), sum(count) * 2 / 5 FROM rejected "
            "JOIN inbox USING (flow) WHERE reason = '' GROUP BY 1, 2"
        )
        db.execute(
            "INSERT INTO inbox_days SELECT inbox, substr(at, 1, 10), sum(rejected_for.open), 0 FROM rejected_for "
            "JOIN rejected USING (seq) GROUP BY 1, 2"
        )


def edit_some(server: lume_local.ThreadedServer, client: lume.Client) -> str:
    """Edit rows like a person; return the reason for their rejection."""
    flow, start = "customer_cleaner", "country: is not one of"
    found = client.inbox(flow=flow).items
    reason = next(item.reason for item in found if item.reason and item.reason.startswith(start))
    rows = list(client.open_rejects(flow=flow, reason=reason, limit=9))
    changes = [
        {
            "run": row["_lume_run"],
            "row": row["_lume_reject"],
            "cells": {"Country": "Germany" if n % 4 else "?"},
        }
        for n, row in enumerate(rows)
    ]
    for method, path, body in (
        ("PATCH", f"/v1/drafts/{flow}", {"rows": changes}),
        ("POST", f"/v1/drafts/{flow}/judge", {}),
    ):
        headers = {"lume-api-key": server.api_key, "Content-Type": "application/json"}
        request = urllib.request.Request(
            server.base_url + path, json.dumps(body).encode(), headers, method=method
        )
        urllib.request.urlopen(request, timeout=60).close()
    return reason


def _moved(time: str, back: timedelta) -> str:
    moved = datetime.fromisoformat(time) - back
    return moved.isoformat(timespec="microseconds").replace("+00:00", "Z")


def best_run(client: lume.Client) -> str:
    """Return the run with the most to show."""
    runs = [run for run in client.list_runs(flow_version="customer_cleaner:v2") if run.has_output]
    return max(runs, key=lambda run: run.metadata.metrics.rows_rejected).id


def take(browser: Browser, server: lume_local.ThreadedServer, pages: dict[str, str]) -> None:
    """Take a picture of each page, in each size and color scheme."""
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            with _opened(browser, server, width, height, scheme) as page:
                for name, place in pages.items():
                    page.goto("about:blank")
                    page.goto(f"{server.base_url}/{place}")
                    page.locator("main h1").wait_for()
                    expect(page.locator("[aria-busy=true]")).to_have_count(0)
                    tall = page.evaluate("document.documentElement.scrollHeight")
                    page.screenshot(
                        path=PICTURES / f"console-{name}-{size}-{scheme}.png",
                        full_page=True,
                        clip={"x": 0, "y": 0, "width": width, "height": min(tall, height)},
                    )


@contextmanager
def _opened(
    browser: Browser, server: lume_local.ThreadedServer, width: int, height: int, scheme: str
) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        locale="en-GB",
    )
    with closing(context):
        page = context.new_page()
        page.goto(server.console_url())
        page.locator("main h1").wait_for()
        yield page


def main() -> None:
    home = Path(tempfile.gettempdir(), "lume")  # the pictures show this path
    home.mkdir()
    try:
        make(home, set(sys.argv[1:]))
    finally:
        shutil.rmtree(home)


def make(home: Path, asked: set[str]) -> None:
    """Make the pictures of these pages; of all if there are none."""
    todo = write_home(home)
    settings: dict[str, Any] = {"flows": home / "flows", "data": home / ".lume", "roots": [home]}
    with lume_local.serve_in_thread(**settings) as server, server.client() as client:
        metadata = {"requested_by": "crm-nightly", "region": "EMEA"}
        client.wait_all([client.run(flow, source, metadata) for flow, source in todo])
    spread(home)
    spread_rejects(home)
    with lume_local.serve_in_thread(**settings) as server, server.client() as client:
        slow = client.run("fingerprints:v1", "large.csv")
        pages = {
            "overview": "#/",
            "inbox": "#/inbox",
            "mend": f"#/inbox/customer_cleaner?{urlencode({'reason': edit_some(server, client)})}",
            "runs": "#/runs",
            "run": f"#/runs/{best_run(client)}",
            "flows": "#/flows",
            "flow": "#/flows/customer_cleaner?version=v2",
            "map": "#/map/orders?file=lieferant.csv",
        }
        program = next(filter(None, map(shutil.which, NAMES)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS, chromium_sandbox=False)
            take(browser, server, {name: pages[name] for name in pages if name in asked or not asked})
        slow.cancel()


if __name__ == "__main__":
    main()
