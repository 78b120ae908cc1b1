"""What the database has answered stays, however its machine ends."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from rumpel.machine.volumes import volume_path

from .conftest import TARGETS, Database, Target, database

pytestmark = [
    pytest.mark.boot,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("target", TARGETS, ids=str),
]

WRITERS = 4
ROUNDS = 3

SCHEMA = (
    "CREATE TABLE entries(writer INTEGER, number INTEGER, content TEXT NOT NULL, PRIMARY KEY(writer, number));"
    "CREATE TABLE totals(writer INTEGER PRIMARY KEY, entries INTEGER NOT NULL);"
)


def content_of(writer: int, number: int) -> str:
    """What an entry holds: from a few bytes to a few pages, so that a commit touches one page or several."""
    digest = hashlib.sha256(f"{writer}/{number}".encode()).hexdigest()
    return digest * (1 + int(digest[:2], 16) % 150)


@dataclass
class Journal:
    """What the writers sent and what was answered: per writer, the highest number of each."""

    sent: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    answered: dict[int, int] = field(default_factory=lambda: defaultdict(int))


def write(client: httpx.Client, writer: int, number: int) -> None:
    """Add an entry and count it, in one transaction."""
    statements = [
        {"sql": "INSERT INTO entries VALUES (?, ?, ?)", "parameters": [writer, number, content_of(writer, number)]},
        {
            "sql": "INSERT INTO totals VALUES (?, 1) ON CONFLICT(writer) DO UPDATE SET entries = entries + 1",
            "parameters": [writer],
        },
    ]
    answer = client.post("/api/transaction", json={"statements": statements})
    assert answer.status_code == 200, answer.text


def write_until_the_end(machine: Database, writer: int, journal: Journal, answered: threading.Event) -> None:
    """Write entry after entry until the machine is gone."""
    with machine.client() as client, contextlib.suppress(httpx.TransportError):
        while True:
            number = journal.answered[writer] + 1
            journal.sent[writer] = number
            write(client, writer, number)
            journal.answered[writer] = number
            answered.set()


def compare(machine: Database, journal: Journal) -> None:
    """Every answered entry is there, whole; of what was not answered, a transaction is there whole or not at all."""
    found = {row[0]: row[1:] for row in machine.query("SELECT writer, count(*), max(number) FROM entries GROUP BY 1")}
    totals = dict(machine.query("SELECT writer, entries FROM totals"))
    for writer, answered in journal.answered.items():
        count, last = found.get(writer, [0, 0])
        assert answered <= last <= journal.sent[writer]
        assert count == last == totals.get(writer, 0)
        contents = machine.query("SELECT number, content FROM entries WHERE writer = ? ORDER BY number", writer)
        assert contents == [[number, content_of(writer, number)] for number in range(1, last + 1)]
        journal.answered[writer] = journal.sent[writer] = last
    assert machine.query("PRAGMA integrity_check") == [["ok"]]


def test_answered_rows_survive_a_clean_stop_and_the_volume_is_clean(target: Target, tmp_path: Path) -> None:
    journal = Journal()
    with database(target) as machine:
        with machine.client() as client:
            client.post("/api/transaction", json={"statements": [{"sql": SCHEMA}]}).raise_for_status()
            for number in range(1, 21):
                write(client, 1, number)
                journal.sent[1] = journal.answered[1] = number
        assert machine.instance.stop() == "asked"
        assert machine.instance.wait() == 0

    image = volume_path("sqlite-web", "data")
    tools = dict(os.environ, PATH=f"{os.environ['PATH']}:/usr/sbin:/sbin", LC_ALL="C")
    checked = subprocess.run(["e2fsck", "-fn", image], env=tools, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    header = subprocess.run(["dumpe2fs", "-h", image], env=tools, capture_output=True, text=True, check=True).stdout
    assert "needs_recovery" not in header
    assert "Filesystem state:         clean" in header

    with database(target) as machine:
        compare(machine, journal)

    # The file is SQLite's own, readable without the machine.
    for name in ("rumpel.db", "rumpel.db-wal"):
        dump = f"dump /{name} {tmp_path / name}"
        subprocess.run(["debugfs", "-R", dump, image], env=tools, capture_output=True, check=True)
    with contextlib.closing(sqlite3.connect(tmp_path / "rumpel.db")) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (20,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_answered_rows_survive_sigkill_of_qemu_under_concurrent_writers(target: Target) -> None:
    """Round after round on the same volume; the first kill comes right behind an answer, the others at any moment."""
    chance = random.Random(f"sigkill {target}")
    journal = Journal()
    for round_number in range(ROUNDS):
        with database(target) as machine:
            if round_number == 0:
                with machine.client() as client:
                    client.post("/api/transaction", json={"statements": [{"sql": SCHEMA}]}).raise_for_status()
            else:
                compare(machine, journal)
            before = sum(journal.answered.values())
            answered = threading.Event()
            writers = [
                threading.Thread(target=write_until_the_end, args=(machine, writer, journal, answered))
                for writer in range(1, WRITERS + 1)
            ]
            for thread in writers:
                thread.start()
            assert answered.wait(60)
            if round_number > 0:
                time.sleep(chance.uniform(0.05, 1.5))
            os.kill(machine.instance.pid, signal.SIGKILL)
            for thread in writers:
                thread.join(90)
                assert not thread.is_alive()
            assert sum(journal.answered.values()) > before
    with database(target) as machine:
        compare(machine, journal)
        assert machine.instance.stop() == "asked"


def test_each_commit_was_flushed_to_the_disk_before_it_was_answered(target: Target) -> None:
    """What a power cut of the host spares is what the guest flushed."""

    def flushes(machine: Database) -> int:
        (disk,) = machine.instance.qmp("query-blockstats")
        count = disk["stats"]["flush_operations"]
        assert isinstance(count, int)
        return count

    with database(target) as machine, machine.client() as client:
        client.post("/api/transaction", json={"statements": [{"sql": SCHEMA}]}).raise_for_status()
        for number in range(1, 11):
            before = flushes(machine)
            write(client, 1, number)
            assert flushes(machine) > before
