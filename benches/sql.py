#!/usr/bin/env python3
"""Compares idempotency keys and a rate limit on PostgreSQL and SQLite with endpoints written by hand.

Each request inserts one payment. There are four versions: 'plain' is written by hand without promises,
with one commit; 'by-hand' is written by hand with a table of keys, with three commits; 'tx' and
'without-tx' are declared with Aplomb, and differ in the handler, which takes a Tx or uses its own pool.

Needs PostgreSQL 14 or newer. The script starts its own server with the default settings, so each commit
waits for the disk. It counts the trips and the commits of each request. Then it measures windows of load
that alternate between two servers; each round has one ratio. It prints the median and the quartiles of
the rounds. If other programs use the machine, only many short rounds are meaningful. It also measures
the stores of records without HTTP, and the bytes of a record.

With --reap it only measures the removal of many expired records beside requests.
"""

import argparse
import collections
import contextlib
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from shared import CountingProxy, build, load, note, prime, ratio, retry_until_up, running, server

MODES = ("plain", "by-hand", "tx", "without-tx")
PAIRS = (("tx", "plain"), ("tx", "by-hand"), ("without-tx", "by-hand"))
COUNTED = 300
FEW, MORE = 200, 1200
RECORDS = 100_000
REAPED = {"PostgreSQL": 5_000_000, "SQLite": 1_000_000}
HEAD = 5
"""The bytes of the head of a message in PostgreSQL's protocol: a type and a length."""


class Postgres:
    """A PostgreSQL server with its default settings, in a directory of its own."""

    name = "PostgreSQL"

    def __init__(self, port):
        self.port = port

    def query(self, statement, database="postgres"):
        """The first column of the first row of the last statement."""
        command = [tool("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                   "-U", "aplomb", "-d", database, "-c", statement]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def create(self, name):
        """Creates a database; returns its URL."""
        self.query(f'CREATE DATABASE "{name}"')
        return self.url(name, f"127.0.0.1:{self.port}")

    def url(self, name, address):
        return f"postgres://aplomb@{address}/{name}?sslmode=disable"

    def counters(self, name):
        """The transactions of a database, and the times that the log was flushed to the disk."""
        connected = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
        while int(self.query(connected)):  # A session counts its transactions at the latest when it ends.
            time.sleep(0.05)
        statement = ("SELECT xact_commit, wal_sync FROM pg_stat_database, pg_stat_wal WHERE datname = '%s'" % name)
        return [int(count) for count in self.query(statement).split("|")]


class Sqlite:
    """Files of SQLite in a directory."""

    name = "SQLite"

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def create(self, name):
        return f"sqlite:{self.directory}/{name}.db"


def commits(url):
    """The number of commits of a SQLite file since it was opened, from the header of its shared memory."""
    return struct.unpack_from("=I", pathlib.Path(url.removeprefix("sqlite:") + "-shm").read_bytes(), 8)[0]


def tool(name):
    """The path of a program of PostgreSQL. Debian does not put all of them on the PATH."""
    found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
    if found is None:
        sys.exit(f"{name} was not found: install PostgreSQL 14 or newer, for example with "
                 "'apt-get install postgresql'")
    return found


def postgres_message(data):
    """The type of the first message, and the bytes after it; `None` if it is not complete."""
    if not data:
        return None
    # The first message of a connection has no type. The first byte of its length is zero.
    name, start = ("start", 0) if data[0] == 0 else (chr(data[0]), 1)
    if len(data) < HEAD:
        return None
    end = start + int.from_bytes(data[start:start + 4], "big")
    return (name, data[end:]) if len(data) >= end else None


@contextlib.contextmanager
def postgres_server(directory):
    data = f"{directory}/postgres"
    # The server does not run as root.
    user = {} if os.getuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
    os.mkdir(data)
    if user:
        owner = pwd.getpwnam("postgres")
        os.chmod(directory, 0o711)
        os.chown(data, owner.pw_uid, owner.pw_gid)
    subprocess.run([tool("initdb"), "-D", data, "-U", "aplomb", "-A", "trust", "-E", "UTF8"],
                   check=True, stdout=subprocess.DEVNULL, cwd="/", **user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [tool("postgres"), "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
               "-c", "unix_socket_directories=", "-c", "log_min_messages=fatal"]
    # SIGINT ends the sessions; SIGTERM would wait for them.
    with running(*command, signal=signal.SIGINT, stderr=subprocess.DEVNULL, cwd="/", **user) as process:
        retry_until_up(process, "postgres", lambda: socket.create_connection(("127.0.0.1", port)).close())
        postgres = Postgres(port)
        for _ in range(100):
            with contextlib.suppress(subprocess.CalledProcessError):
                postgres.query("SELECT 1")
                break
            time.sleep(0.05)
        yield postgres


def serve(program, mode, url, options):
    return server(program, mode, url, *([] if options.tested else ["untested"]))


def count_trips(program, mode, postgres, options):
    """The trips of a new key and of a replay; of these, the tests of a connection by a pool."""
    name = f"trips-{mode}"
    postgres.create(name)
    found = []
    with contextlib.closing(CountingProxy(postgres.port, postgres_message)) as proxy, \
            serve(program, mode, postgres.url(name, proxy.address), options) as (_, address):
        prime(program, address, "counted")
        for keys, prefix in (("new", "other"), ("replay", "counted")):
            if keys == "replay" and mode == "plain":
                found.append(None)
                continue
            load(program, address, prefix, keys, 1, 60, 64)
            trips, messages = proxy.trips, proxy.messages.copy()
            load(program, address, prefix + ("" if keys == "replay" else "-more"), keys, 1, 60, COUNTED)
            time.sleep(0.2)  # A pool tests a connection after the response.
            sent = proxy.messages - messages
            trips = proxy.trips - trips
            # A statement is one `Query` or one `Execute`. A test is a `Sync` without a statement.
            found.append((trips / COUNTED, (trips - sent["Q"] - sent["E"]) / COUNTED))
    return found


def count_commits(program, mode, database, options):
    """The commits of a request with a new key, and the flushes to the disk. `None` if not known."""
    url = database.create(f"commits-{mode}")
    if isinstance(database, Sqlite):
        with serve(program, mode, url, options) as (_, address):
            prime(program, address, "first")
            before = commits(url)
            load(program, address, "other", "new", 1, 60, COUNTED)
            return (commits(url) - before) / COUNTED, None
    totals = []
    for requests in (FEW, MORE):
        before = database.counters(f"commits-{mode}")
        with serve(program, mode, url, options) as (_, address):
            load(program, address, f"other-{requests}", "new", 1, 120, requests)
        after = database.counters(f"commits-{mode}")
        totals.append([end - start for start, end in zip(before, after)])
    return [(more - few) / (MORE - FEW) for few, more in zip(*totals)]


def window(program, address, prefix, keys, options):
    """The requests per second of one window."""
    if keys == "replay":
        prime(program, address, prefix)
    tally = load(program, address, prefix, keys, options.connections, options.seconds)
    return tally["requests"] / tally["seconds"]


def rounds(program, database, modes, loads, options):
    """The ratio of each round. The window that is measured first alternates."""
    with contextlib.ExitStack() as stack:
        addresses = {}
        for mode in modes:
            if mode not in addresses:
                url = database.create(f"{'-'.join((*modes, *loads))}-{mode}")
                addresses[mode] = stack.enter_context(serve(program, mode, url, options))[1]
        rates = collections.defaultdict(list)
        for number in range(options.rounds + 1):
            order = (0, 1) if number % 2 else (1, 0)
            found = {}
            for index in order:
                prefix = f"{number}-{index}"
                found[index] = window(program, addresses[modes[index]], prefix, loads[index], options)
            if number == 0:
                continue  # The connections and the caches are new.
            names = [f"{mode}, {keys}" for mode, keys in zip(modes, loads)]
            note(f"{database.name}: {found[0]:.0f} ({names[0]}), {found[1]:.0f} ({names[1]}) requests/s")
            for index in order:
                rates[index].append(found[index])
            yield found[0] / found[1], found[0], found[1]


def print_counts(program, postgres, sqlite, options):
    print("| a request, one at a time | trips, new key | trips, replay | commits | flushes | commits on SQLite |"
          "\n|---|---|---|---|---|---|")
    for mode in MODES:
        trips = [f"{found[0]:.2f}, {found[1]:.2f} of them tests" if found else ""
                 for found in count_trips(program, mode, postgres, options)]
        committed, flushed = count_commits(program, mode, postgres, options)
        on_sqlite, _ = count_commits(program, mode, sqlite, options)
        print(f"| {mode} | {' | '.join(trips)} | {committed:.2f} | {flushed:.2f} | {on_sqlite:.2f} |", flush=True)


def print_ratios(program, databases, options):
    print("\n| requests/s | " + " | ".join(database.name for database in databases) + " |"
          "\n|---|" + "---|" * len(databases))
    rows = [(pair, ("new", "new")) for pair in PAIRS] + [(("tx", "tx"), ("replay", "new"))]
    for modes, loads in rows:
        cells = []
        for database in databases:
            found = list(rounds(program, database, modes, loads, options))
            ours, theirs = (statistics.median(row[index] for row in found) for index in (1, 2))
            cells.append(f"{ratio([row[0] for row in found])}, {ours:.0f} / {theirs:.0f}")
        title = " / ".join(modes) if loads[0] == loads[1] else f"{modes[0]}: replays / new keys"
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


def print_records(program, databases, options):
    print("\n| records without HTTP, per second | pairs, 1 task | pairs, 16 tasks | replays, 1 task |"
          " replays, 16 tasks |\n|---|---|---|---|---|")
    for database in databases:
        url = database.create("records")
        found = {}
        for tasks in (1, 16):
            # One longer run: the pauses of checkpoints belong to the rate.
            command = [program, "records", url, str(tasks), str(max(options.seconds, 1) * 5)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[tasks] = json.loads(output)
        cells = [f"{found[tasks][kind]:.0f}" for kind in ("pairs", "replays") for tasks in (1, 16)]
        print(f"| {database.name} | {' | '.join(cells)} |", flush=True)


def print_bytes(program, postgres, sqlite):
    url = postgres.create("bytes")
    subprocess.run([program, "fill", url, str(RECORDS)], check=True)
    statement = ("SELECT pg_relation_size('aplomb.record'), pg_indexes_size('aplomb.record'), count(*) "
                 "FROM aplomb.record")
    heap, indexes, count = (int(cell) for cell in postgres.query(statement, "bytes").split("|"))
    url = sqlite.create("bytes")
    subprocess.run([program, "fill", url, str(RECORDS)], check=True)
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"))) as file:
        stored = file.execute("SELECT count(*) FROM aplomb_record").fetchone()[0]
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = os.path.getsize(url.removeprefix("sqlite:"))
    print("\n| bytes of a record, with a response of 300 bytes | table | indexes | file |\n|---|---|---|---|"
          f"\n| PostgreSQL | {heap / count:.0f} | {indexes / count:.0f} | |"
          f"\n| SQLite | | | {size / stored:.0f} |", flush=True)


class PostgresReaping:
    """Many records that expire at once, because the clock of the database advances."""

    def __init__(self, postgres):
        self.postgres, self.url = postgres, postgres.create("reap")

    def fill(self, count):
        self.postgres.query(
            "INSERT INTO aplomb.record (name, token, lease_until, expires_at, reap_at, state, rerun, fingerprint,"
            " response) SELECT gen_random_uuid(), token, lease_until, expires_at, reap_at, state, rerun,"
            " fingerprint, response FROM (SELECT * FROM aplomb.record WHERE state = 2 LIMIT 1) AS record,"
            f" generate_series(1, {count})", "reap")
        self.postgres.query("VACUUM ANALYZE aplomb.record", "reap")
        self.postgres.query("CHECKPOINT", "reap")

    def expire(self):
        self.postgres.query("CREATE OR REPLACE FUNCTION aplomb.clock() RETURNS timestamptz LANGUAGE sql VOLATILE"
                            " AS $$SELECT clock_timestamp() + interval '3 days'$$", "reap")

    def left(self):
        return int(self.postgres.query("SELECT count(*) FROM aplomb.record WHERE reap_at <= aplomb.clock()", "reap"))


class SqliteReaping:
    """Many records that expire at once, because their times are changed."""

    def __init__(self, sqlite):
        self.url = sqlite.create("reap")
        self.file = self.url.removeprefix("sqlite:")

    def execute(self, *statements):
        with contextlib.closing(sqlite3.connect(self.file, timeout=60)) as file:
            for statement in statements:
                rows = file.execute(statement).fetchall()
            file.commit()
            return rows

    def fill(self, count):
        self.execute("INSERT INTO aplomb_record SELECT randomblob(16), token, fingerprint, state, rerun, lease_until,"
                     " expires_at, response FROM (SELECT * FROM aplomb_record WHERE state = 2 LIMIT 1),"
                     f" (WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count})"
                     " SELECT n FROM series)")
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def expire(self):
        self.execute("UPDATE aplomb_record SET expires_at = 1")
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def left(self):
        return self.execute("SELECT count(*) FROM aplomb_record WHERE expires_at = 1")[0][0]


def reap(program, reaping, database, options):
    """Measures requests at a fixed rate beside records that are not expired, and beside their removal."""
    count = options.records or REAPED[database.name]

    def latency(prefix, seconds):
        with serve(program, "tx", reaping.url, options) as (_, address):
            load(program, address, f"first-{prefix}", "new", options.connections, 2, rate=options.rate)
            tally = load(program, address, prefix, "new", options.connections, seconds, rate=options.rate)
        found = tally["latency"]
        cells = " | ".join(f"{found[name]:.1f}" for name in ("p50", "p99", "max"))
        return f"{tally['requests'] / tally['seconds']:.0f} | {cells}"

    def row(title, cells):
        print(f"| {database.name}, {title} | {cells} |", flush=True)

    row("an empty table", latency("empty", options.reap_seconds) + " | ")
    note(f"{database.name}: {count} records are written")
    reaping.fill(count)
    row(f"{count} records", latency("filled", options.reap_seconds) + " | ")
    reaping.expire()
    before, start = reaping.left(), time.monotonic()
    cells = latency("removing", options.reap_seconds)
    took = time.monotonic() - start
    left = reaping.left()
    row(f"{count} expired records", f"{cells} | {(before - left) / took:.0f}")
    note(f"{database.name}: {left} of {before} are left")


def print_reaping(program, postgres, sqlite, options):
    print(f"| {options.rate:.0f} requests/s in equal distances | requests/s | p50, ms | p99, ms | max, ms |"
          " removed/s |\n|---|---|---|---|---|---|")
    if options.only != "sqlite":
        reap(program, PostgresReaping(postgres), postgres, options)
    if options.only != "postgres":
        reap(program, SqliteReaping(sqlite), sqlite, options)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="rounds of one window each (12)")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of a window (1)")
    parser.add_argument("--connections", type=int, default=32, help="concurrent requests (32)")
    parser.add_argument("--only", choices=("postgres", "sqlite"), help="measure ratios on one database")
    parser.add_argument("--part", choices=("counts", "ratios", "records", "bytes"), help="measure one table")
    parser.add_argument("--tested", action="store_true",
                        help="the pools of all versions test a connection before each use, as is sqlx's default")
    parser.add_argument("--reap", action="store_true", help="measure only the removal of expired records")
    parser.add_argument("--records", type=int, help="expired records (5 million on PostgreSQL, 1 million on SQLite)")
    parser.add_argument("--rate", type=float, default=200, help="requests/s beside the removal (200)")
    parser.add_argument("--reap-seconds", type=float, default=30, help="seconds of load beside the removal (30)")
    return parser.parse_args()


def main():
    chosen = options()
    # SIGTERM raises SystemExit, so the context managers end the processes that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    program = build("payments_sql", "--features", "sql")
    with tempfile.TemporaryDirectory(prefix="aplomb-bench-") as directory, postgres_server(directory) as postgres:
        sqlite = Sqlite(directory)
        databases = [database for database in (postgres, sqlite)
                     if chosen.only in (None, {"PostgreSQL": "postgres", "SQLite": "sqlite"}[database.name])]
        if chosen.reap:
            print_reaping(program, postgres, sqlite, chosen)
            return 0
        if chosen.part in (None, "counts"):
            print_counts(program, postgres, sqlite, chosen)
        if chosen.part in (None, "ratios"):
            print_ratios(program, databases, chosen)
        if chosen.part in (None, "records"):
            print_records(program, databases, chosen)
        if chosen.part in (None, "bytes"):
            print_bytes(program, postgres, sqlite)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
