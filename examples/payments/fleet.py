"""Instances of the service that share a Redis and a ledger, and what breaks them."""

from __future__ import annotations

import collections
import contextlib
import http.client
import pathlib
import random
import signal
import socket
import threading
import time

from client import Failure
from processes import Process, free_addresses, required

LEASE = 2.0
"""Seconds after which nobody waits for a dead instance's runs."""

BETWEEN = (6, 14)
"""How many payments are answered between two breakages: from, to."""


class Progress:
    """How many payments were answered, for those who wait for more."""

    def __init__(self):
        self.answered = 0
        self.over = False
        self.changed = threading.Condition()

    def add(self) -> None:
        with self.changed:
            self.answered += 1
            self.changed.notify_all()

    def end(self) -> None:
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def wait_for(self, more: int) -> None:
        with self.changed:
            goal = self.answered + more
            self.changed.wait_for(lambda: self.over or self.answered >= goal)
            if self.over:
                raise Failure("the payments ended before everything was broken")


class Fleet:
    """A Redis and instances of the service on it. As a context manager it ends all of them."""

    def __init__(self, service: str, instances: int, seed: int, directory: pathlib.Path):
        self.service = required(service, "build it with `cargo build -p payments`")
        self.chance = random.Random(f"{seed}/fleet")
        self.broken: collections.Counter[str] = collections.Counter()
        self.redis_address, *self.addresses = free_addresses(1 + instances)
        self.redis = Process("redis", self.redis_command(directory), {}, directory)
        self.instances = [
            Process(f"instance {number}", [self.service], self.settings(address, directory), directory)
            for number, address in enumerate(self.addresses, 1)
        ]

    def redis_command(self, directory: pathlib.Path) -> list[str]:
        program = required("redis-server", "install it, such as with `apt-get install redis-server`")
        host, port = self.redis_address
        place = ["--bind", host, "--port", str(port), "--dir", str(directory)]
        return [program, *place, "--appendonly", "yes", "--save", ""]

    def settings(self, address: tuple[str, int], directory: pathlib.Path) -> dict[str, str]:
        return {
            "APLOMB_ADDR": joined(address),
            "APLOMB_STORE": f"redis://{joined(self.redis_address)}",
            "APLOMB_SECRET": "one secret for all of the instances",
            "APLOMB_LEASE": f"{LEASE * 1000:.0f}ms",
            "APLOMB_LIMITS": "payments=1000000/min",
            "APLOMB_INSTANCES": str(len(self.addresses)),
            "PAYMENTS_DB": str(directory / "ledger.sqlite"),
            "NO_COLOR": "1",
        }

    def __enter__(self) -> Fleet:
        try:
            self.redis.start()
            self.redis.await_start(lambda: answers_ping(self.redis_address))
            self.start_all()
        except BaseException:
            self.end_all()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.end_all()

    def end_all(self) -> None:
        processes = [*self.instances, self.redis]
        for process in processes:
            process.finish()
        for process in processes:
            process.kill()

    def start_all(self) -> None:
        for instance in self.instances:
            instance.start()
        for instance in self.instances:
            self.await_start(instance)

    def await_start(self, instance: Process) -> None:
        address = self.addresses[self.instances.index(instance)]
        instance.await_start(lambda: answers_health(address))

    def restart_gracefully(self) -> None:
        """Lets every run come to its end, whether anybody waits for it or not."""
        for instance in self.instances:
            instance.end()
        self.start_all()

    def break_all(self, progress: Progress) -> None:
        """Three kills and two pauses, of which the longer than a lease is met by a kill."""
        breakages = [self.kill_one, self.kill_one, self.pause_briefly, self.pause_and_kill]
        self.chance.shuffle(breakages)
        for breakage in breakages:
            progress.wait_for(self.chance.randint(*BETWEEN))
            breakage()
        progress.wait_for(BETWEEN[1])

    def kill_one(self) -> None:
        victim = self.kill()
        time.sleep(self.chance.uniform(0, 0.5))
        self.revive(victim)

    def pause_briefly(self) -> None:
        with self.paused():
            time.sleep(self.chance.uniform(0.5, 0.75) * LEASE)

    def pause_and_kill(self) -> None:
        with self.paused():
            time.sleep(self.chance.uniform(0, 0.5) * LEASE)
            victim = self.kill()
            time.sleep(self.chance.uniform(0.7, 1.0) * LEASE)
        self.revive(victim)

    def kill(self) -> Process:
        victim = self.chance.choice(self.instances)
        victim.kill()
        self.broken["kills"] += 1
        return victim

    def revive(self, victim: Process) -> None:
        victim.start()
        self.await_start(victim)

    @contextlib.contextmanager
    def paused(self):
        self.redis.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.redis.signal(signal.SIGCONT)
        self.broken["pauses of Redis"] += 1

    def last_lines(self) -> str:
        return "\n".join(process.last_lines() for process in [*self.instances, self.redis])


def joined(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def answers_ping(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1) as redis:
            redis.sendall(b"PING\r\n")
            return redis.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def answers_health(address: tuple[str, int]) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", "/v1/health", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
