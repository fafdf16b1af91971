"""Instances of the service that share a Redis and a ledger, with faults for them."""

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
"""Seconds after which the runs of a dead instance are unknown."""

RESPONSES_BETWEEN_FAULTS = (6, 14)
"""The number of responses between two faults: minimum, maximum."""


class Progress:
    """The number of payments with a response. Threads can wait for more of them."""

    def __init__(self):
        self.responses = 0
        self.over = False
        self.changed = threading.Condition()

    def add(self) -> None:
        with self.changed:
            self.responses += 1
            self.changed.notify_all()

    def end(self) -> None:
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def wait_for(self, more: int) -> None:
        with self.changed:
            goal = self.responses + more
            self.changed.wait_for(lambda: self.over or self.responses >= goal)
            if self.over:
                raise Failure("the payments ended before all faults had been injected")


class Fleet:
    """A Redis and instances of the service that use it. The exit of the context kills all of them."""

    def __init__(self, service: str, instances: int, seed: int, directory: pathlib.Path):
        self.service = required(service, "build it with `cargo build -p payments`")
        self.rng = random.Random(f"{seed}/fleet")
        self.faults: collections.Counter[str] = collections.Counter()
        self.redis_address, *self.addresses = free_addresses(1 + instances)
        self.redis = Process("redis", self.redis_command(directory), {}, directory)
        self.instances = [
            Process(f"instance {number}", [self.service], self.settings(address, directory), directory)
            for number, address in enumerate(self.addresses, 1)
        ]

    def redis_command(self, directory: pathlib.Path) -> list[str]:
        program = required("redis-server", "install it, for example with `apt-get install redis-server`")
        host, port = self.redis_address
        location = ["--bind", host, "--port", str(port), "--dir", str(directory)]
        return [program, *location, "--appendonly", "yes", "--save", ""]

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
            self.kill_all()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.kill_all()

    def kill_all(self) -> None:
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
        """Restarts all instances with SIGTERM, which lets every run complete."""
        for instance in self.instances:
            instance.end()
        self.start_all()

    def inject_all_faults(self, progress: Progress) -> None:
        """Injects three kills and two pauses. The longer pause exceeds a lease, and a kill happens during it."""
        faults_in_order = [self.kill_one, self.kill_one, self.pause_briefly, self.pause_and_kill]
        self.rng.shuffle(faults_in_order)
        for inject in faults_in_order:
            progress.wait_for(self.rng.randint(*RESPONSES_BETWEEN_FAULTS))
            inject()
        progress.wait_for(RESPONSES_BETWEEN_FAULTS[1])

    def kill_one(self) -> None:
        victim = self.kill()
        time.sleep(self.rng.uniform(0, 0.5))
        self.restart(victim)

    def pause_briefly(self) -> None:
        with self.paused():
            time.sleep(self.rng.uniform(0.5, 0.75) * LEASE)

    def pause_and_kill(self) -> None:
        with self.paused():
            time.sleep(self.rng.uniform(0, 0.5) * LEASE)
            victim = self.kill()
            time.sleep(self.rng.uniform(0.7, 1.0) * LEASE)
        self.restart(victim)

    def kill(self) -> Process:
        victim = self.rng.choice(self.instances)
        victim.kill()
        self.faults["kills"] += 1
        return victim

    def restart(self, victim: Process) -> None:
        victim.start()
        self.await_start(victim)

    @contextlib.contextmanager
    def paused(self):
        self.redis.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.redis.signal(signal.SIGCONT)
        self.faults["pauses of Redis"] += 1

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
