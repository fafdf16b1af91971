"""Instances of the service that share a database, with faults for the instances and the database."""

from __future__ import annotations

import collections
import contextlib
import http.client
import pathlib
import random
import signal
import threading
import time

from client import Failure
from databases import DATABASES
from processes import Process, free_addresses, required

LEASE = 2.0
"""Seconds after which a retry runs the request of a dead instance again."""

RESPONSES_BETWEEN_FAULTS = (6, 14)
"""The number of responses between two faults: minimum, maximum."""

SHORT_PAUSE = 0.7
"""Seconds of a pause of the PostgreSQL server that is shorter than a lease."""

LONG_PAUSE = 5.0
"""Seconds of a pause that is longer than a lease, and as long as the time limit of a transaction."""

CUT_COMMITS = 5
"""The number of connections that the proxy cuts between a COMMIT and its reply."""


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
    """A database and instances of the service that use it. The exit of the context kills all of them."""

    def __init__(self, service: str, instances: int, store: str, seed: int, directory: pathlib.Path):
        self.service = required(service, "build it with `cargo build -p payments`")
        self.rng = random.Random(f"{seed}/fleet")
        self.faults: collections.Counter[str] = collections.Counter()
        self.store = store
        self.bank = directory / "bank"
        self.database = DATABASES[store](directory)
        self.addresses = free_addresses(instances)
        self.instances = [
            Process(f"instance {number}", [self.service], self.settings(address), directory)
            for number, address in enumerate(self.addresses, 1)
        ]

    def settings(self, address: tuple[str, int]) -> dict[str, str]:
        return {
            "APLOMB_ADDR": joined(address),
            "APLOMB_STORE": self.database.url,
            "APLOMB_SECRET": "one secret for all of the instances",
            "APLOMB_LEASE": f"{LEASE * 1000:.0f}ms",
            "APLOMB_LIMITS": "payments=1000000/min",
            "APLOMB_INSTANCES": str(len(self.addresses)),
            "PAYMENTS_BANK": str(self.bank),
            "NO_COLOR": "1",
        }

    def __enter__(self) -> Fleet:
        try:
            self.database.start()
            self.start_all()
        except BaseException:
            self.kill_all()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.kill_all()

    def kill_all(self) -> None:
        processes = [*self.instances, self.database]
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
        """Injects each fault, in a random order, between payments."""
        faults_in_order = self.faults_of_store()
        self.rng.shuffle(faults_in_order)
        for inject in faults_in_order:
            progress.wait_for(self.rng.randint(*RESPONSES_BETWEEN_FAULTS))
            inject()
        progress.wait_for(RESPONSES_BETWEEN_FAULTS[1])

    def faults_of_store(self) -> list:
        if self.store == "sqlite":
            pauses = [self.pause_instance, self.pause_instance]
            return [self.kill_one, self.kill_one, self.kill_every_instance, *pauses]
        sessions = [self.terminate_sessions, self.terminate_sessions, self.cut_connections, self.cut_commits]
        server = [self.pause_server, self.pause_server_and_kill, self.restart_server]
        return [self.kill_one, self.kill_one, *sessions, *server]

    def kill_one(self) -> None:
        victim = self.kill()
        time.sleep(self.rng.uniform(0, 0.5))
        self.restart(victim)

    def kill_every_instance(self) -> None:
        for instance in self.instances:
            instance.kill()
            self.faults["kills"] += 1
        self.start_all()

    def pause_instance(self) -> None:
        """Stops an instance for longer than a lease. Other instances run its requests again."""
        victim = self.rng.choice(self.instances)
        victim.signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(1.2, 1.6) * LEASE)
        victim.signal(signal.SIGCONT)
        self.faults["pauses of an instance"] += 1

    def terminate_sessions(self) -> None:
        self.database.terminate_sessions()
        self.faults["terminations of all sessions"] += 1

    def cut_connections(self) -> None:
        self.database.proxy.cut_all()
        self.faults["cut of all database connections"] += 1

    def cut_commits(self) -> None:
        """Cuts connections between a COMMIT and its reply, so the instances get no result."""
        if not self.database.proxy.cut_commits(CUT_COMMITS, seconds=20):
            raise Failure(f"fewer than {CUT_COMMITS} commits within 20 s")
        self.faults["lost replies to COMMIT"] += CUT_COMMITS

    def pause_server(self) -> None:
        with self.paused():
            time.sleep(SHORT_PAUSE)

    def pause_server_and_kill(self) -> None:
        with self.paused():
            before = self.rng.uniform(0.1, 0.5) * LONG_PAUSE
            time.sleep(before)
            victim = self.kill()
            time.sleep(LONG_PAUSE - before)
        self.restart(victim)

    def restart_server(self) -> None:
        self.database.restart()
        self.faults["restart of the server"] += 1

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
        with self.database.paused():
            yield
        self.faults["pauses of the server"] += 1

    def last_lines(self) -> str:
        return "\n".join(process.last_lines() for process in [*self.instances, self.database])


def joined(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def answers_health(address: tuple[str, int]) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", "/v1/health", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
