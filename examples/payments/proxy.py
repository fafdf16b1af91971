"""A proxy that cuts connections."""

from __future__ import annotations

import collections
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
