"""The databases that the instances of a fleet share, with faults for them."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
import signal
import subprocess

from client import Failure
from processes import Process, free_addresses, required
from proxy import DatabaseProxy


class SqliteFile:
    """A SQLite file on this machine."""

    def __init__(self, directory: pathlib.Path):
        self.url = f"sqlite:{directory / 'payments.db'}"

    def start(self) -> None:
        """Does nothing: the first instance creates the file."""

    def finish(self) -> None:
        """Does nothing: a file has no process."""

    def kill(self) -> None:
        """Does nothing: a file has no process."""

    def last_lines(self) -> str:
        return f"--- {self.url}"


class PostgresServer:
    """A PostgreSQL server with new data, behind a proxy that can cut its connections.

    PostgreSQL refuses to run as root. If the script runs as root, the server runs as the user `postgres`.
    """

    def __init__(self, directory: pathlib.Path):
        self.owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.root = directory / "postgres"
        self.host, self.port = free_addresses(1)[0]
        self.proxy = DatabaseProxy((self.host, self.port))
        self.url = f"postgres://postgres@{self.proxy.address[0]}:{self.proxy.address[1]}/postgres"
        self.process = Process("postgres server", self.command(), {}, directory, self.owner)

    def command(self) -> list[str]:
        # Without fsync, a kill of the processes loses no commit. Only a crash of the system does.
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": self.root,
            "fsync": "off",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [postgres_program("postgres"), "-D", str(self.root / "data"), *options]

    def start(self) -> None:
        if self.root.exists():
            raise Failure(f"{self.root} exists: use an empty --directory")
        self.root.mkdir()
        if self.owner:
            shutil.chown(self.root, self.owner["user"], self.owner["group"])
        self.run("initdb", "--pgdata", self.root / "data", "--username", "postgres", "--auth", "trust", "--no-sync")
        self.process.start()
        self.await_start()

    def await_start(self) -> None:
        self.process.await_start(lambda: self.execute("SELECT 1", check=False) == "1\n")

    def terminate_sessions(self) -> None:
        """Ends all sessions of the instances, as an administrator does."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def restart(self) -> None:
        """Restarts the server as `pg_ctl restart -m immediate` does: it closes all sessions and recovers from its log."""
        self.process.signal(signal.SIGQUIT)
        self.process.child.wait()
        self.process.start()
        self.await_start()

    @contextlib.contextmanager
    def paused(self):
        """Stops all processes of the server. Its connections stay open."""
        self.process.signal(signal.SIGSTOP)  # The server starts no more processes.
        stopped = children_of(self.process.child.pid)
        for child in stopped:
            send_signal(child, signal.SIGSTOP)
        try:
            yield
        finally:
            for child in stopped:
                send_signal(child, signal.SIGCONT)
            self.process.signal(signal.SIGCONT)

    def finish(self) -> None:
        self.process.finish()

    def kill(self) -> None:
        """Kills all processes of the server, even if they are paused."""
        if self.process.child is not None:
            children = children_of(self.process.child.pid)
            self.process.kill()
            for child in children:
                send_signal(child, signal.SIGKILL)

    def last_lines(self) -> str:
        return self.process.last_lines()

    def execute(self, statement: str, check: bool = True) -> str:
        address = ["--host", self.host, "--port", self.port, "--username", "postgres"]
        return self.run("psql", *address, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
                        "--command", statement, check=check)

    def run(self, program: str, *arguments, check: bool = True) -> str:
        command = [postgres_program(program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.root, **self.owner)
        if check and done.returncode != 0:
            raise Failure(f"{program} failed: {done.stderr.strip()}")
        return done.stdout


def postgres_program(name: str) -> str:
    """The path of a program of PostgreSQL: of the newest version of Debian's packages, or on the PATH."""
    versions = glob.glob(f"/usr/lib/postgresql/*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.split("/")[4]), default=None)
    return newest or required(name, "install PostgreSQL, for example with `apt-get install postgresql`")


def children_of(parent: int) -> list[int]:
    """The child processes of a process."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name of the program is in parentheses, and can have spaces.
            fields = status.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == parent:
                found.append(int(status.parent.name))
    return found


def send_signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


DATABASES = {"sqlite": SqliteFile, "postgres": PostgresServer}
