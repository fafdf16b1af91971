"""Proxies that cut connections: of clients to the service, and of the service to its database."""

from __future__ import annotations

import collections
import contextlib
import random
import socket
import struct
import threading
import time

SOCKET_TIMEOUT = 15.0
"""Seconds to wait for bytes on a connection."""

EARLY = "before the request was complete"
WORKING = "while the service worked"
RESPONDING = "during the response"


class CuttingProxy:
    """Forwards each connection, with one request, to one of the services. Cuts every third connection."""

    def __init__(self, services: list[tuple[str, int]], seed: int):
        self.services = services
        self.seed = seed
        self.connections = 0
        self.cuts: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            self.connections += 1
            arguments = (client, self.connections)
            threading.Thread(target=self.serve, args=arguments, daemon=True).start()

    def serve(self, client: socket.socket, number: int) -> None:
        # The cut depends only on the seed and the number of the connection, so a seed repeats it.
        rng = random.Random(f"{self.seed}/{number}")
        address = rng.choice(self.services)
        kind = rng.choice((EARLY, WORKING, RESPONDING)) if number % 3 == 0 else None
        try:
            client.settimeout(SOCKET_TIMEOUT)
            with client, socket.create_connection(address, timeout=SOCKET_TIMEOUT) as service:
                self.forward(client, service, kind, rng)
        except OSError:
            pass  # One side has disconnected. The client retries on a new connection.

    def forward(self, client, service, kind, rng) -> None:
        request = read_request(client)
        if kind == EARLY:
            service.sendall(request[: rng.randrange(len(request))])
            return self.cut(kind, rng, client, service)
        service.sendall(request)
        if kind == WORKING:
            time.sleep(rng.uniform(0, 0.02))
            return self.cut(kind, rng, client, service)
        response = read_all(service)
        if kind == RESPONDING:
            client.sendall(response[: rng.randrange(1, len(response))])
            return self.cut(kind, rng, client, service)
        client.sendall(response)

    def cut(self, kind: str, rng: random.Random, *sockets: socket.socket) -> None:
        with self.lock:
            self.cuts[kind] += 1
        reset = rng.random() < 0.5
        for end in sockets:
            if reset:  # A linger time of zero closes with RST instead of FIN.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


def read_request(client: socket.socket) -> bytes:
    """Reads a complete request, with a Content-Length or without a body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(client)
    head, body = data.split(b"\r\n\r\n", 1)
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    missing = int(fields.get(b"content-length", 0)) - len(body)
    while missing > 0:
        more = receive(client)
        data, missing = data + more, missing - len(more)
    return data


def receive(end: socket.socket) -> bytes:
    data = end.recv(65536)
    if not data:
        raise ConnectionError("the connection ended early")
    return data


def read_all(service: socket.socket) -> bytes:
    """Reads until the service closes the connection, which it does because of `Connection: close`."""
    data = receive(service)
    while True:
        more = service.recv(65536)
        if not more:
            return data
        data += more


class DatabaseProxy:
    """Forwards connections to a database, and cuts them on request."""

    def __init__(self, server: tuple[str, int]):
        self.server = server
        self.open: set[socket.socket] = set()
        self.commits_to_cut = 0
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            with socket.create_connection(self.server, timeout=SOCKET_TIMEOUT) as server:
                server.settimeout(None)
                both = (client, server)
                with self.changed:
                    self.open.update(both)
                back = threading.Thread(target=self.forward, args=(server, client, both, False), daemon=True)
                back.start()
                self.forward(client, server, both, True)
                back.join()
                with self.changed:
                    self.open.difference_update(both)

    def forward(self, source, target, both, to_server: bool) -> None:
        """Forwards bytes in one direction until one end closes. Then closes both."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                cuts = to_server and b"COMMIT" in data and self.take_commit()
                target.sendall(data)
                if cuts:
                    break  # The server executes the COMMIT, and its reply is lost.
        for end in both:
            shut_down(end)

    def take_commit(self) -> bool:
        with self.changed:
            if self.commits_to_cut == 0:
                return False
            self.commits_to_cut -= 1
            self.changed.notify_all()
            return True

    def cut_commits(self, count: int, seconds: float) -> bool:
        """Cuts this many connections after their next COMMIT, and waits until they are cut."""
        with self.changed:
            self.commits_to_cut = count
            return self.changed.wait_for(lambda: self.commits_to_cut == 0, seconds)

    def cut_all(self) -> None:
        with self.changed:
            for end in self.open:
                shut_down(end)


def shut_down(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
