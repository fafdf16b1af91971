#!/usr/bin/env python3
"""Compares idempotency and a rate limit on Redis with the same endpoint written by hand.

Needs redis-server 7. The script starts one without persistence, and both servers in release build. It
first counts the commands that each request sends to Redis. Then it measures windows of load that
alternate between the servers; each round has one ratio. It prints the median and the quartiles of the
rounds. If other programs use the machine, only many short rounds are meaningful, and requests/s are
the least reliable.

With --instructions both servers and Redis also run under callgrind (needs valgrind).
"""

import argparse
import collections
import contextlib
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from shared import REPLAYED, CountingProxy, build, cpu, load, note, prime, ratio, retry_until_up, running, server

MODES = ("aplomb", "by-hand")
COUNTED_MODES = ("aplomb", "aplomb-prefetch", "by-hand")
"""Prefetched tokens save trips and instructions, so that mode is counted and not timed."""

LOADS = ("new", "replay")
COUNTED = 300
FEW, MORE = 200, 1200


class Redis:
    """A connection of this script to Redis. Its commands are not counted."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.replies = self.connection.makefile("rb")

    def ask(self, *words):
        self.connection.sendall((" ".join(words) + "\r\n").encode())
        line = self.replies.readline()
        if line.startswith(b"$"):
            return self.replies.read(int(line[1:]) + 2).decode()
        if not line.startswith(b"+"):
            raise RuntimeError(f"{words}: {line}")
        return line.decode()

    def calls(self):
        """The number of runs of each command, from clients and from scripts."""
        rows = re.findall(r"cmdstat_([^:|]+)[^:]*:calls=(\d+)", self.ask("INFO", "commandstats"))
        calls = collections.Counter()
        for name, count in rows:
            calls[name] += int(count)
        return calls


def command(data):
    """The name of the first command, and the bytes after it; `None` if it is not complete."""
    head, found, rest = data.partition(b"\r\n")
    if not found:
        return None
    words = []
    for _ in range(int(head[1:])):
        head, found, rest = rest.partition(b"\r\n")
        length = int(head[1:]) if found else 0
        if not found or len(rest) < length + 2:
            return None
        words.append(rest[:length])
        rest = rest[length + 2:]
    return words[0].decode().lower(), rest


@contextlib.contextmanager
def redis_server(directory, *tool):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*tool, "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory,
               "--save", "", "--appendonly", "no",
               # Periodic work of Redis would be counted too, and more of it on a slower machine.
               "--hz", "1", "--dynamic-hz", "no"]
    with running(*command, stdout=subprocess.DEVNULL) as process:
        yield process, retry_until_up(process, "redis-server", lambda: Redis(port)), port


def count(program, mode, redis, port):
    """For each load: the trips, the commands of the client, and the commands in scripts."""
    counts = {}
    redis.ask("FLUSHALL", "SYNC")
    with contextlib.closing(CountingProxy(port, command)) as proxy, \
            server(program, mode, f"redis://{proxy.address}") as (_, address):
        prime(program, address, "counted")
        load(program, address, "counted", "replay", 1, 60, REPLAYED)
        for keys in LOADS:
            trips, sent, calls = proxy.trips, proxy.messages.copy(), redis.calls()
            load(program, address, "counted" if keys == "replay" else "other", keys, 1, 60, COUNTED)
            sent = proxy.messages - sent
            # A command that ran and was not sent ran in a script. INFO is from this script.
            inside = redis.calls() - calls - sent - collections.Counter(info=1)
            counts[keys] = ((proxy.trips - trips) / COUNTED, sent, inside)
    return counts


def callgrind(log):
    return ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]


def total(log):
    return int(re.search(r"Collected : (\d+)", pathlib.Path(log).read_text()).group(1))


def totals(program, mode, keys, requests, directory):
    """The instructions of the server and of Redis for their start and this number of requests."""
    logs = [f"{directory}/{who}.callgrind" for who in ("server", "redis")]
    with redis_server(directory, *callgrind(logs[1])) as (_, _, port), \
            server(program, mode, f"redis://127.0.0.1:{port}", tool=callgrind(logs[0])) as (_, address):
        prime(program, address, "first")
        load(program, address, "first" if keys == "replay" else "other", keys, 1, 600, requests)
    return [total(log) for log in logs]


def instructions(program, mode, keys, directory):
    """The instructions per request, of the server and of Redis."""
    few, more = (totals(program, mode, keys, requests, directory) for requests in (FEW, MORE))
    return [(most - least) / (MORE - FEW) for least, most in zip(few, more)]


def window(program, served, redis_process, redis, keys, options):
    """Requests per second, and processor seconds per request, of the application and of Redis."""
    process, address = served
    redis.ask("FLUSHALL", "SYNC")
    if keys == "replay":
        prime(program, address, "window")
    before = cpu(process), cpu(redis_process)
    tally = load(program, address, "window", keys, options.connections, options.seconds)
    after = cpu(process), cpu(redis_process)
    requests = tally["requests"]
    return (requests / tally["seconds"], (after[0] - before[0]) / requests, (after[1] - before[1]) / requests)


def rounds(program, redis_process, redis, port, keys, options):
    """The ratios Aplomb / by hand of each round. The server that is measured first alternates."""
    measure = lambda served: window(program, served, redis_process, redis, keys, options)
    with server(program, MODES[0], f"redis://127.0.0.1:{port}") as aplomb, \
            server(program, MODES[1], f"redis://127.0.0.1:{port}") as by_hand:
        for served in (aplomb, by_hand):
            measure(served)
        for number in range(options.rounds):
            first, second = (aplomb, by_hand) if number % 2 == 0 else (by_hand, aplomb)
            found = measure(first), measure(second)
            ours, theirs = found if first is aplomb else reversed(found)
            note(f"{keys}: {ours[0]:.0f} and {theirs[0]:.0f} requests/s")
            yield [our / their for our, their in zip(ours, theirs)]


def names(commands):
    rows = sorted(commands.items(), key=lambda row: (-row[1], row[0]))
    return ", ".join(f"{calls / COUNTED:.3g} {name.upper()}" for name, calls in rows) or "none"


def print_counts(counts):
    print("| a request, one at a time | trips | commands sent | commands inside scripts |\n|---|---|---|---|")
    for keys in LOADS:
        for mode in COUNTED_MODES:
            trips, sent, inside = counts[mode][keys]
            print(f"| {keys}, {mode} | {trips:.2f} | {names(sent)} | {names(inside)} |")


def print_ratios(ratios):
    print("\n| Aplomb / by hand | new keys | replays |\n|---|---|---|")
    titles = ("requests/s", "processor time of the application a request", "processor time of Redis a request")
    for index, title in enumerate(titles):
        cells = [ratio([one[index] for one in ratios[keys]]) for keys in LOADS]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


def print_instructions(program, directory):
    print("\n| instructions a request, one at a time | Aplomb | by hand | ratio | with prefetch | ratio |"
          "\n|---|---|---|---|---|---|")
    for keys in LOADS:
        counts = [instructions(program, mode, keys, directory) for mode in COUNTED_MODES]
        for who, ours, prefetching, theirs in zip(("application", "Redis"), *counts):
            cells = f"{ours / 1000:.0f} k | {theirs / 1000:.0f} k | {ours / theirs:.2f}"
            cells += f" | {prefetching / 1000:.0f} k | {prefetching / theirs:.2f}"
            print(f"| {keys}: {who} | {cells} |", flush=True)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="rounds of one window each (12)")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of a window (1)")
    parser.add_argument("--connections", type=int, default=32, help="concurrent requests (32)")
    parser.add_argument("--instructions", action="store_true", help="also count instructions")
    return parser.parse_args()


def main():
    chosen = options()
    if shutil.which("redis-server") is None:
        return "redis-server is not on the PATH: install it, for example with 'apt-get install redis-server'"
    # SIGTERM raises SystemExit, so the context managers end the processes that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    program = build("payments_redis")
    with tempfile.TemporaryDirectory(prefix="aplomb-bench-") as directory, \
            redis_server(directory) as (process, redis, port):
        counts = {mode: count(program, mode, redis, port) for mode in COUNTED_MODES}
        print_counts(counts)
        ratios = {keys: list(rounds(program, process, redis, port, keys, chosen)) for keys in LOADS}
        print_ratios(ratios)
        if chosen.instructions:
            print_instructions(program, directory)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
