#!/usr/bin/env python3
"""Makes payments over a connection that keeps breaking, and proves that each was made once.

A proxy inside this script cuts every third connection at a random point: before the request is
through, while the service works, or in the middle of the response. Each payment has one
Idempotency-Key and is retried with it until there is an answer. In the end the balances, the list
and every answer are compared over a direct connection. Exits with 0 if all agree, else prints what
differs and exits with 1.

    python3 retry_client.py --url http://127.0.0.1:3000 --key sk_test_alice --seed 7
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import ipaddress
import json
import os
import random
import sys
import threading
import time
import urllib.parse

from client import TIME_LIMIT, Answer, Client, Failure
from proxy import CuttingProxy


# --- the run -----------------------------------------------------------------------------------


class Run:
    """One run: two accounts, the payments between them, and what is known of them."""

    def __init__(self, options: argparse.Namespace):
        ends_at = time.monotonic() + TIME_LIMIT
        self.options = options
        self.proxy = CuttingProxy(options.service, options.seed)
        self.client = Client(self.proxy.address, options.key, ends_at)
        self.direct = Client(options.service, options.key, ends_at)
        chance = random.Random(options.seed)
        self.amounts = [chance.randint(1, 1000) for _ in range(options.payments)]
        self.total = sum(self.amounts)
        self.spare = 500

    def prepare(self) -> None:
        """Opens and funds the accounts, through the proxy too."""
        try:
            self.direct.send("GET", "/v1/health", None, None)
        except OSError as error:
            raise Failure(f"no service answers at {self.options.url}: {error}") from error
        self.payer, self.payee = (self.open(owner) for owner in ("Payer", "Payee"))
        funds = {"amount": self.total + self.spare}
        self.client.call("POST", f"/v1/accounts/{self.payer}/deposit", funds, expect=201)

    def open(self, owner: str) -> str:
        new = {"owner": owner, "currency": "EUR"}
        return self.client.call("POST", "/v1/accounts", new, expect=201).body["id"]

    def pay_all(self) -> list[Answer]:
        """The answers, in the order of the amounts."""
        pool = concurrent.futures.ThreadPoolExecutor(self.options.parallel)
        try:
            return list(pool.map(self.pay, self.amounts))
        except Failure:
            self.client.ends_at = 0  # The other threads give up at their next wait.
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def pay(self, amount: int) -> Answer:
        new = {"from": self.payer, "to": self.payee, "amount": amount}
        return self.client.call("POST", "/v1/payments", new, expect=201)

    def differences(self, answers: list[Answer]) -> list[str]:
        """What is not as it must be, seen over the direct connection."""
        listed, repeated = self.list_payments()
        found = [f"{id} is listed more than once" for id in repeated]
        if list(listed) != sorted(listed, reverse=True):
            found.append("the list is not ordered from the newest to the oldest")
        found += self.wrong_balances() + self.wrong_answers(answers, listed)
        if len(listed) != len(answers):
            found.append(f"{len(listed)} payments are listed, {len(answers)} were asked for")
        return found

    def list_payments(self) -> tuple[dict, list[str]]:
        """The payments of the payer's account by id, and the ids that came more than once."""
        listed, repeated, cursor, pages = {}, [], None, 0
        while pages == 0 or cursor is not None:
            query = {"account": self.payer, "limit": 20, **({"cursor": cursor} if cursor else {})}
            page = self.direct.call("GET", "/v1/payments?" + urllib.parse.urlencode(query)).body
            repeated += [row["id"] for row in page["data"] if row["id"] in listed]
            listed.update((row["id"], row) for row in page["data"])
            cursor = page["next_cursor"]
            pages += 1
            if page["has_more"] != (cursor is not None) or (cursor and not page["data"]):
                raise Failure(f"page {pages} contradicts itself: {json.dumps(page)}")
            if repeated:
                break
        return listed, repeated

    def wrong_balances(self) -> list[str]:
        expected = {self.payer: self.spare, self.payee: self.total}
        found = []
        for account, balance in expected.items():
            held = self.direct.call("GET", f"/v1/accounts/{account}").body["balance"]
            if held != balance:
                found.append(f"{account} holds {held} instead of {balance}")
        return found

    def wrong_answers(self, answers: list[Answer], listed: dict) -> list[str]:
        found, seen = [], set()
        for amount, answer in zip(self.amounts, answers):
            payment = answer.body
            asked = {"from": self.payer, "to": self.payee, "amount": amount}
            if {name: payment[name] for name in asked} != asked:
                found.append(f"asked for {asked}, answered {payment}")
            if payment["id"] in seen:
                found.append(f"two keys were answered with {payment['id']}")
            seen.add(payment["id"])
            found += self.differing_views(answer, listed)
        return found + [f"{id} is listed and was never answered" for id in listed if id not in seen]

    def differing_views(self, answer: Answer, listed: dict) -> list[str]:
        """The list must say what the answer said; after a retry so must the payment itself."""
        payment, found = answer.body, []
        if listed.get(payment["id"]) != payment:
            found.append(f"answered {payment}, listed {listed.get(payment['id'])}")
        if answer.attempts > 1:
            location = urllib.parse.urlsplit(answer.headers.get("Location", "")).path
            if location != f"/v1/payments/{payment['id']}":
                return found + [f"{payment['id']} was answered with Location: {location}"]
            read = self.direct.call("GET", location).body
            if read != payment:
                found.append(f"answered {payment}, reads {read}")
        return found

    def summary(self, started: float) -> None:
        cuts, retries = self.proxy.cuts, self.client.retries
        print(f"{self.proxy.connections} connections, {sum(cuts.values())} cut: {counted(cuts)}")
        print(f"{sum(retries.values())} retries: {counted(retries)}; {self.client.replays} replays")
        seconds = time.monotonic() - started
        print(f"asked for {len(self.amounts)} payments of {self.total} in total; {seconds:.1f} s")


def counted(counter: collections.Counter) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"


# --- the command line --------------------------------------------------------------------------


def loopback(url: str) -> tuple[str, int]:
    """The service's address. Refuses any but a loopback address: this script breaks connections."""
    parts = urllib.parse.urlsplit(url)
    host = {"localhost": "127.0.0.1"}.get(parts.hostname or "", parts.hostname or "")
    try:
        if parts.scheme == "http" and ipaddress.ip_address(host).is_loopback:
            return host, parts.port or 80
    except ValueError:
        pass
    raise Failure(f"--url {url}: expected http:// and a loopback address, such as http://127.0.0.1:3000")


def positive(text: str) -> int:
    if not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("expected a number from 1 to 1000")
    return int(text)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="the service; loopback only")
    parser.add_argument("--key", default="sk_test_alice", help="the API key")
    parser.add_argument("--payments", type=positive, default=90)
    parser.add_argument("--parallel", type=positive, default=16, help="payments at a time")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats the same cuts")
    return parser.parse_args()


def time_is_up() -> None:
    print(f"FAILED: not done after {TIME_LIMIT:.0f} s", flush=True)
    os._exit(1)


def watch() -> None:
    """Ends the process even if a connection never stops dripping."""
    timer = threading.Timer(TIME_LIMIT + 5, time_is_up)
    timer.daemon = True
    timer.start()


def main() -> int:
    started = time.monotonic()
    arguments = options()
    print(f"seed {arguments.seed}", flush=True)
    watch()
    run = None
    try:
        arguments.service = loopback(arguments.url)
        run = Run(arguments)
        run.prepare()
        found = run.differences(run.pay_all())
    except Failure as failure:
        found = [str(failure)]
    except KeyError as missing:
        found = [f"an answer lacks the member {missing}"]
    if run is not None and run.proxy.connections:
        run.summary(started)
    for difference in found:
        print(f"FAILED: {difference}")
    if not found:
        print("every payment was made exactly once")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
