"""A proxy that cuts connections."""

from __future__ import annotations

import collections
import random
import socket
import struct
import threading
import time

PATIENCE = 15.0
"""Seconds to wait for bytes on a connection."""

EARLY = "before the request was through"
WORKING = "while the service worked"
ANSWERING = "in the response"


class CuttingProxy:
    """Forwards each connection, one request each, to one of the services, and cuts every third one."""

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
        # What is cut, and where, depends on the seed and the connection's number only.
        chance = random.Random(f"{self.seed}/{number}")
        address = chance.choice(self.services)
        kind = chance.choice((EARLY, WORKING, ANSWERING)) if number % 3 == 0 else None
        try:
            client.settimeout(PATIENCE)
            with client, socket.create_connection(address, timeout=PATIENCE) as service:
                self.forward(client, service, kind, chance)
        except OSError:
            pass  # Either side is gone; the client's next attempt is another connection.

    def forward(self, client, service, kind, chance) -> None:
        request = read_request(client)
        if kind == EARLY:
            service.sendall(request[: chance.randrange(len(request))])
            return self.cut(kind, chance, client, service)
        service.sendall(request)
        if kind == WORKING:
            time.sleep(chance.uniform(0, 0.02))
            return self.cut(kind, chance, client, service)
        response = read_all(service)
        if kind == ANSWERING:
            client.sendall(response[: chance.randrange(1, len(response))])
            return self.cut(kind, chance, client, service)
        client.sendall(response)

    def cut(self, kind: str, chance: random.Random, *sockets: socket.socket) -> None:
        with self.lock:
            self.cuts[kind] += 1
        reset = chance.random() < 0.5
        for end in sockets:
            if reset:  # Lingering for zero seconds closes with RST rather than FIN.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


def read_request(client: socket.socket) -> bytes:
    """A whole request with a Content-Length, or without a body."""
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
    """Everything until the service closes, as `Connection: close` asks it to."""
    data = receive(service)
    while True:
        more = service.recv(65536)
        if not more:
            return data
        data += more
