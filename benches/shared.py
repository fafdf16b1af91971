"""Parts that the benchmarks with servers share: processes, load, and a proxy that counts trips."""

import collections
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


class CountingProxy:
    """A proxy between a server and its database that counts messages and trips.

    A trip begins when the client sends data after the database has sent data. With one request at a
    time, messages that are sent together are one trip. `message` returns the name of the first message
    of the client, and the bytes after it; `None` if it is not complete.
    """

    def __init__(self, port, message):
        self.port, self.message = port, message
        self.messages, self.trips = collections.Counter(), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                database = socket.create_connection(("127.0.0.1", self.port))
                client_sent_last = [False]
                for forward in (self.relay_requests, self.relay_replies):
                    threading.Thread(target=forward, args=(client, database, client_sent_last), daemon=True).start()

    def relay_requests(self, client, database, client_sent_last):
        unread = b""
        with contextlib.suppress(OSError):
            while chunk := client.recv(65536):
                self.trips += not client_sent_last[0]
                client_sent_last[0] = True
                unread = self.count(unread + chunk)
                database.sendall(chunk)
            database.shutdown(socket.SHUT_RDWR)

    def relay_replies(self, client, database, client_sent_last):
        with contextlib.suppress(OSError):
            while chunk := database.recv(65536):
                client_sent_last[0] = False
                client.sendall(chunk)

    def count(self, data):
        """Counts complete messages; returns the remaining bytes."""
        while (found := self.message(data)) is not None:
            name, data = found
            self.messages[name] += 1
        return data

    def close(self):
        self.listener.close()


def build(program, *arguments):
    command = ["cargo", "build", "--quiet", "--release", "-p", "aplomb-benches", "--bin", program, *arguments]
    subprocess.run(command, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"],
                              check=True, capture_output=True, text=True).stdout
    return json.loads(metadata)["target_directory"] + "/release/" + program


@contextlib.contextmanager
def running(*command, signal=None, **options):
    """A process that is ended when the block is left, also by an error."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        if signal is None:
            process.terminate()
        else:
            process.send_signal(signal)
        try:
            process.wait(30 if signal else 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def retry_until_up(process, name, attempt):
    for _ in range(400):
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended at its start")
        with contextlib.suppress(OSError):
            return attempt()
        time.sleep(0.05)
    raise RuntimeError(f"{name} does not reply")


@contextlib.contextmanager
def server(program, mode, url, *arguments, tool=()):
    """Starts a server; yields its process and its address."""
    command = [*tool, program, mode, url, *arguments]
    with running(*command, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"{mode} did not start")
        yield process, address


def load(program, address, prefix, keys, connections, seconds, most=10**9, rate=None):
    """Sends requests for some seconds, at most `most` of them. Fails if a response is unexpected."""
    plan = [address, prefix, keys, connections, seconds, most]
    if rate is not None:
        plan.append(rate)
    with running(program, "load", *map(str, plan), stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=seconds + 60)
        if process.returncode != 0:
            raise RuntimeError("the load failed")
    tally = json.loads(output)
    if tally["unexpected"]:
        raise RuntimeError(f"{tally['unexpected']} of {tally['requests']} responses are not those of {keys} keys")
    return tally


REPLAYED = 64


def prime(program, address, prefix):
    """Sends the requests whose responses are replayed."""
    load(program, address, prefix, "new", 1, 60, REPLAYED)


def cpu(process):
    """The processor seconds of a process so far, in user and in kernel mode."""
    stat = pathlib.Path(f"/proc/{process.pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def note(line):
    print(line, file=sys.stderr, flush=True)


def ratio(values):
    """The median and the quartiles."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.2f} ({lower:.2f} to {upper:.2f})"
