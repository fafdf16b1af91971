"""Child processes that are started, broken and ended, and where they listen."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

from client import Failure

START = 20.0
"""Seconds that a process may take to start, or to end when it is asked to."""

PORTS = range(20000, 32000)
"""Below those that the system gives to clients, so that nobody takes the port of what was killed."""


class Process:
    """A child process that can be paused, killed and started again, with a log over all its lives."""

    def __init__(self, name: str, command: list[str], settings: dict[str, str], logs: pathlib.Path):
        self.name = name
        self.command = command
        self.settings = settings
        self.log = logs / f"{name.replace(' ', '-')}.log"
        self.child: subprocess.Popen | None = None
        self.finished = False
        self.lock = threading.Lock()

    def start(self) -> None:
        with self.lock:
            if self.finished:
                raise Failure(f"{self.name} is not started again: the run is over")
            self.child = self.spawn()

    def spawn(self) -> subprocess.Popen:
        others = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("APLOMB_") and name != "PAYMENTS_DB"
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command,
                env={**others, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def signal(self, number: signal.Signals) -> None:
        if self.child is not None:
            self.child.send_signal(number)  # Nothing where it has ended already.

    def kill(self) -> None:
        """Ends it, paused or not."""
        self.signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def finish(self) -> None:
        """Kills it, for good: it cannot be started again."""
        with self.lock:
            self.finished = True
            self.signal(signal.SIGKILL)

    def end(self) -> None:
        """Asks it to end, and waits until it has finished what it does."""
        self.signal(signal.SIGTERM)
        try:
            code = self.child.wait(START)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {START:.0f} s of SIGTERM") from None
        if code != 0:
            raise Failure(f"{self.name} ended with {code} after SIGTERM")

    def await_start(self, is_up) -> None:
        ends_at = time.monotonic() + START
        while not is_up():
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended with {self.child.returncode} when it was started")
            if time.monotonic() > ends_at:
                raise Failure(f"{self.name} did not start within {START:.0f} s")
            time.sleep(0.02)

    def last_lines(self, count: int = 25) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- {self.name}, the last of {len(lines)} lines:", *lines[-count:]])


def required(program: str, remedy: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Failure(f"there is no program {program}: {remedy}")
    return os.path.abspath(path)


def free_addresses(count: int) -> list[tuple[str, int]]:
    """Addresses on which nobody listens."""
    found: list[tuple[str, int]] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as free:
            found.append(free.getsockname())
        if len(found) == count:
            return found
    raise Failure(f"no {count} ports from {PORTS.start} to {PORTS.stop} are free")
