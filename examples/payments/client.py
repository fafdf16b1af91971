"""A client that sends a request until it is answered, with one Idempotency-Key."""

from __future__ import annotations

import collections
import http.client
import json
import random
import threading
import time
import uuid

ATTEMPTS = 100
"""The most times that one request is sent; where the rate limit is used up, it is asked each second."""

PATIENCE = 15.0
"""Seconds to wait for bytes on a connection."""


class Failure(Exception):
    """Ends the run with one line."""


class Cut(Exception):
    """A response that ended early without an error of the connection."""


class Deadline:
    """The moment at which a run gives up, whatever it waits for."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def comes_within(self, seconds: float) -> bool:
        return time.monotonic() + seconds > self.at

    def bring_forward(self) -> None:
        """It is now: whoever waits gives up."""
        self.at = 0.0


class Answer:
    """A whole response."""

    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.headers = response.headers
        text = response.read()
        # A connection that was closed within the head looks to http.client like a short head.
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
    def is_unknown(self) -> bool:
        """Whether nobody knows what became of the request."""
        return self.status == 500 and self.body.get("code") == "IDEMPOTENCY_OUTCOME_UNKNOWN" and not self.retryable

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
    """Sends requests until they are answered, each attempt to a random one of the addresses."""

    def __init__(self, addresses: list[tuple[str, int]], api_key: str, deadline: Deadline):
        self.addresses = addresses
        self.api_key = api_key
        self.deadline = deadline
        self.lock = threading.Lock()
        self.retries: collections.Counter[str] = collections.Counter()
        self.replays = 0

    def call(self, method: str, path: str, body=None, expect: int = 200, **options) -> Answer:
        """The final answer. All attempts carry the same Idempotency-Key and body.

        Options: `key`, else a POST draws one; `may_be_unknown`, if that is an answer, too.
        """
        key = options.get("key") or (str(uuid.uuid4()) if method == "POST" else None)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self.send(method, path, body, key)
            except (OSError, http.client.HTTPException, Cut):
                self.wait("CUT", random.uniform(0, min(1.0, 0.05 * 2**attempt)))
                continue
            if answer.retryable:
                self.wait(answer.body.get("code", "?"), answer.retry_after + random.uniform(0, 0.5))
                continue
            answer.attempts = attempt
            if options.get("may_be_unknown") and answer.is_unknown:
                return answer
            return self.checked(f"{method} {path}", answer, expect)
        raise Failure(f"{method} {path}: no answer after {ATTEMPTS} attempts")

    def send(self, method: str, path: str, body, key) -> Answer:
        """One attempt on a connection of its own."""
        headers = {"Authorization": f"Bearer {self.api_key}", "Connection": "close"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection = http.client.HTTPConnection(*random.choice(self.addresses), timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def wait(self, why: str, seconds: float) -> None:
        with self.lock:
            self.retries[why] += 1
        if self.deadline.comes_within(seconds):
            raise Failure(f"still waiting after {self.deadline.seconds:.0f} s, at last because of {why}")
        time.sleep(seconds)

    def checked(self, what: str, answer: Answer, expect: int) -> Answer:
        with self.lock:
            self.replays += answer.replayed
        if answer.status != expect:
            raise Failure(f"{what}: expected {expect}, got {answer}")
        return answer
