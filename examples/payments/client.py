"""A client that retries each request with one Idempotency-Key until it has a final response.

No response may say that the outcome is unknown: such a response ends the run, like any other error that is not
retryable.
"""

from __future__ import annotations

import collections
import http.client
import json
import random
import threading
import time
import uuid

MAX_ATTEMPTS = 100
"""The maximum number of attempts. While the rate limit rejects, there is one attempt per second."""

SOCKET_TIMEOUT = 15.0
"""Seconds to wait for bytes on a connection."""


class Failure(Exception):
    """An error that ends the run. Its text is one line."""


class Cut(Exception):
    """A response that ended early without a connection error."""


class Deadline:
    """The time at which a run stops waiting and fails."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def is_within(self, seconds: float) -> bool:
        return time.monotonic() + seconds > self.at

    def expire(self) -> None:
        """Moves the deadline to now, so every waiting thread fails."""
        self.at = 0.0


class Response:
    """A complete response."""

    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.headers = response.headers
        text = response.read()
        # If a connection closes within the head, http.client returns a response without the other fields.
        if not response.chunked and str(len(text)) != self.headers.get("Content-Length"):
            raise Cut("the response ended early")
        self.body = parsed(text)
        self.attempts = 1

    @property
    def replayed(self) -> bool:
        return self.headers.get("Idempotent-Replayed") == "true"

    @property
    def retryable(self) -> bool:
        return self.status >= 400 and self.body.get("retryable") is True

    @property
    def retry_after(self) -> float:
        text = self.headers.get("Retry-After", "")
        return float(text) if text.isdigit() else 1.0

    def __str__(self) -> str:
        return f"{self.status} {json.dumps(self.body)}"


def parsed(text: bytes) -> dict:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"not a JSON object": repr(text[:200])}


class Client:
    """Sends requests until they have a final response. Each attempt goes to a random address."""

    def __init__(
        self,
        addresses: list[tuple[str, int]],
        api_key: str,
        deadline: Deadline,
        fresh_keys: bool = False,
    ):
        self.addresses = addresses
        self.api_key = api_key
        self.deadline = deadline
        self.fresh_keys = fresh_keys
        self.lock = threading.Lock()
        self.retries: collections.Counter[str] = collections.Counter()
        self.replays = 0

    def call(self, method: str, path: str, body=None, expect: int = 200, **options) -> Response:
        """Sends a request until it has a final response. All attempts have the same key and body.

        Options: `key` is the Idempotency-Key; a POST without it generates one. A client with
        `fresh_keys` ignores it, and sends each attempt with a new key: this is the mistake that the
        control run makes.
        """
        key = options.get("key") or (str(uuid.uuid4()) if method == "POST" else None)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            if self.fresh_keys and key is not None:
                key = str(uuid.uuid4())
            try:
                response = self.send(method, path, body, key)
            except (OSError, http.client.HTTPException, Cut):
                self.wait("CUT", random.uniform(0, min(1.0, 0.05 * 2**attempt)))
                continue
            if response.retryable:
                self.wait(response.body.get("code", "?"), response.retry_after + random.uniform(0, 0.5))
                continue
            response.attempts = attempt
            return self.checked(f"{method} {path}", response, expect)
        raise Failure(f"{method} {path}: no final response after {MAX_ATTEMPTS} attempts")

    def send(self, method: str, path: str, body, key) -> Response:
        """Sends one attempt on a new connection."""
        headers = {"Authorization": f"Bearer {self.api_key}", "Connection": "close"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection = http.client.HTTPConnection(*random.choice(self.addresses), timeout=SOCKET_TIMEOUT)
        try:
            connection.request(method, path, body, headers)
            return Response(connection.getresponse())
        finally:
            connection.close()

    def wait(self, reason: str, seconds: float) -> None:
        with self.lock:
            self.retries[reason] += 1
        if self.deadline.is_within(seconds):
            raise Failure(f"not done after {self.deadline.seconds:.0f} s; the last wait was for {reason}")
        time.sleep(seconds)

    def checked(self, what: str, response: Response, expect: int) -> Response:
        with self.lock:
            self.replays += response.replayed
        if response.status != expect:
            raise Failure(f"{what}: expected {expect}, got {response}")
        return response
