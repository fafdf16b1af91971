"""Child processes that the script starts, pauses and kills, and free addresses for them."""

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

START_TIMEOUT = 20.0
"""Seconds within which a process must start, or end after SIGTERM."""

PORTS = range(20000, 32000)
"""Below the ports that the system gives to clients, so no client takes the port of a killed process."""


class Process:
    """A child process that can be paused, killed and restarted. All starts write to one log."""

    def __init__(
        self,
        name: str,
        command: list[str],
        settings: dict[str, str],
        logs: pathlib.Path,
        owner: dict | None = None,
    ):
        self.name = name
        self.command = command
        self.settings = settings
        self.owner = owner or {}
        self.log = logs / f"{name.replace(' ', '-')}.log"
        self.child: subprocess.Popen | None = None
        self.finished = False
        self.lock = threading.Lock()

    def start(self) -> None:
        with self.lock:
            if self.finished:
                raise Failure(f"{self.name} cannot be started: the run has ended")
            self.child = self.spawn()

    def spawn(self) -> subprocess.Popen:
        others = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("APLOMB_") and name != "PAYMENTS_BANK"
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command,
                env={**others, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.owner,
            )

    def signal(self, number: signal.Signals) -> None:
        if self.child is not None:
            self.child.send_signal(number)  # Does nothing if the process has ended.

    def kill(self) -> None:
        """Kills the process, even if it is paused, and waits until it has ended."""
        self.signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def finish(self) -> None:
        """Kills the process. It cannot be started again."""
        with self.lock:
            self.finished = True
            self.signal(signal.SIGKILL)

    def end(self) -> None:
        """Sends SIGTERM, and waits until the process has completed its requests and ended."""
        self.signal(signal.SIGTERM)
        try:
            code = self.child.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {START_TIMEOUT:.0f} s of SIGTERM") from None
        if code != 0:
            raise Failure(f"{self.name} ended with exit code {code} after SIGTERM")

    def await_start(self, is_up) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not is_up():
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended with exit code {self.child.returncode} at its start")
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} did not start within {START_TIMEOUT:.0f} s")
            time.sleep(0.02)

    def last_lines(self, count: int = 25) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- {self.name}, the last of {len(lines)} lines:", *lines[-count:]])


def required(program: str, remedy: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Failure(f"the program {program} is missing: {remedy}")
    return os.path.abspath(path)


def free_addresses(count: int) -> list[tuple[str, int]]:
    """Addresses on which no process listens."""
    found: list[tuple[str, int]] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as free:
            found.append(free.getsockname())
        if len(found) == count:
            return found
    raise Failure(f"fewer than {count} ports from {PORTS.start} to {PORTS.stop} are free")
