#!/usr/bin/env python3
"""Makes payments over connections that keep breaking, and proves that each was made once.

A proxy inside this script cuts every third connection at a random point: before the request is
through, while the service works, or in the middle of the response. Each payment has one
Idempotency-Key and is retried with it until there is an answer. In the end the balances, the list
and every answer are compared over a direct connection. Exits with 0 if all agree, else prints what
differs and exits with 1.

    python3 retry_client.py --url http://127.0.0.1:3000 --key sk_test_alice --seed 7

With --instances it starts that many instances itself, on a Redis of its own, and breaks these, too:
it kills instances and starts them again, and pauses the Redis. What became of a payment may then be
unknown to the service. It says so, and the payment is looked up.

    python3 retry_client.py --instances 2 --service target/debug/payments
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import ipaddress
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid

from books import Books, Order
from client import Answer, Client, Deadline, Failure
from fleet import Fleet, Progress
from proxy import CuttingProxy

TIME_LIMIT = 100.0
"""Seconds after which the script gives up, whatever it waits for."""

TIME_LIMIT_WITH_FLEET = 150.0

MOST_PAYMENTS = 1000
"""The most that are made while something is still to be broken."""

SPARE = 500
"""What the payer has left when everything is paid."""


class Run:
    """One run: two accounts, the payments between them, and what is known of them."""

    def __init__(self, options: argparse.Namespace, fleet: Fleet | None):
        self.options = options
        self.fleet = fleet
        self.deadline = Deadline(options.time_limit)
        self.proxy = CuttingProxy(options.services, options.seed)
        self.client = Client([self.proxy.address], options.key, self.deadline)
        self.direct = Client(options.services, options.key, self.deadline)
        count = options.payments if fleet is None else MOST_PAYMENTS
        self.amounts = random.Random(options.seed).sample(range(1, 10001), count)
        self.handed_out = 0
        self.orders: list[Order] = []
        self.progress = Progress()
        self.breaking = fleet is not None
        self.said_again: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()

    def prepare(self) -> None:
        """Opens and funds the accounts, through the proxy too."""
        for service in self.options.services:
            try:
                Client([service], self.options.key, self.deadline).send("GET", "/v1/health", None, None)
            except OSError as error:
                raise Failure(f"no service answers at {service[0]}:{service[1]}: {error}") from error
        payer, payee = (self.open(owner) for owner in ("Payer", "Payee"))
        funds = sum(self.amounts) + SPARE
        self.client.call("POST", f"/v2/accounts/{payer}/deposit", {"amount": funds}, expect=201)
        self.books = Books(self.direct, payer, payee, funds)

    def open(self, owner: str) -> str:
        new = {"owner": owner, "currency": "EUR"}
        return self.client.call("POST", "/v2/accounts", new, expect=201).body["id"]

    def pay_all(self) -> None:
        """Makes the payments, and breaks the fleet meanwhile."""
        pool = concurrent.futures.ThreadPoolExecutor(self.options.parallel + 1)
        tasks = [self.pay_in_turn] * self.options.parallel + [self.break_fleet] * self.breaking
        try:
            for future in concurrent.futures.as_completed([pool.submit(task) for task in tasks]):
                future.result()
        except BaseException:
            self.deadline.bring_forward()
            raise
        finally:
            self.progress.end()
            pool.shutdown(wait=False, cancel_futures=True)

    def break_fleet(self) -> None:
        self.fleet.break_all(self.progress)
        self.breaking = False

    def pay_in_turn(self) -> None:
        while (amount := self.next_amount()) is not None:
            order = self.pay(amount, str(uuid.uuid4()))
            with self.lock:
                self.orders.append(order)
            self.progress.add()

    def next_amount(self) -> int | None:
        """Each amount once: as many as were asked for, and more while the fleet is being broken."""
        with self.lock:
            number, self.handed_out = self.handed_out, self.handed_out + 1
        if number >= self.options.payments and not self.breaking:
            return None
        if number >= len(self.amounts):
            raise Failure(f"{len(self.amounts)} payments were over before everything was broken")
        return self.amounts[number]

    def pay(self, amount: int, key: str) -> Order:
        return Order(amount, key, self.ask(self.client, amount, key))

    def ask(self, client: Client, amount: int, key: str) -> Answer:
        new, unknown = self.books.new_payment(amount), self.fleet is not None
        return client.call("POST", "/v1/payments", new, 201, key=key, may_be_unknown=unknown)

    def differences(self) -> list[str]:
        """What is not as it must be, seen over direct connections."""
        found = []
        if self.fleet is not None:
            self.fleet.restart_gracefully()
            answered = [order for order in self.orders if not order.answer.is_unknown]
            found = [text for order in answered for text in self.asked_again(order)]
        return found + self.books.differences(self.orders)

    def asked_again(self, order: Order) -> list[str]:
        """The key is used up: it gives the same answer, or nobody knows it any more."""
        again = self.ask(self.direct, order.amount, order.key)
        self.said_again["unknown by now" if again.is_unknown else "the same"] += 1
        if again.is_unknown or again.replayed and again.body == order.answer.body:
            return []
        return [f"{order.amount} was answered {order.answer}, and later {again}"]

    def summary(self, started: float) -> None:
        cuts, retries = self.proxy.cuts, self.client.retries
        print(f"{self.proxy.connections} connections, {sum(cuts.values())} cut: {counted(cuts)}")
        print(f"{sum(retries.values())} retries: {counted(retries)}; {self.client.replays} replays")
        total, seconds = sum(order.amount for order in self.orders), time.monotonic() - started
        print(f"asked for {len(self.orders)} payments of {total} in total; {seconds:.1f} s")

    def verdict(self) -> str:
        if self.fleet is None:
            return "every payment was made exactly once"
        unknown = [order for order in self.orders if order.answer.is_unknown]
        made = sum(bool(self.books.of_amount(order.amount)) for order in unknown)
        outcome = f"{len(unknown)} unknown: {made} of them made, {len(unknown) - made} not"
        known = len(self.orders) - len(unknown)
        print(f"asked again, the answers are {counted(self.said_again)}")
        print(f"{known} payments made once, {outcome}; {counted(self.fleet.broken)}")
        return "every payment was made once, or said to be unknown and checked"


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
    if not 1 <= int(text) <= MOST_PAYMENTS:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MOST_PAYMENTS}")
    return int(text)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--url",
        action="append",
        help="the service, loopback only; more than one: each request goes to a random one of them",
    )
    parser.add_argument("--instances", type=positive, help="starts and breaks so many instances")
    parser.add_argument("--service", default="target/debug/payments", help="the binary to start")
    parser.add_argument("--directory", help="where ledger and logs are kept; else they are removed")
    parser.add_argument("--key", default="sk_test_alice", help="the API key")
    parser.add_argument("--payments", type=positive, default=90)
    parser.add_argument("--parallel", type=positive, default=16, help="payments at a time")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats the same cuts")
    arguments = parser.parse_args()
    if arguments.instances and arguments.url:
        parser.error("--url names services that run; --instances starts its own")
    arguments.time_limit = TIME_LIMIT_WITH_FLEET if arguments.instances else TIME_LIMIT
    return arguments


def time_is_up(seconds: float, fleet: Fleet | None) -> None:
    print(f"FAILED: not done after {seconds:.0f} s", flush=True)
    if fleet is not None:
        fleet.end_all()
    os._exit(1)


def watch(seconds: float, fleet: Fleet | None) -> None:
    """Ends the process even if a connection never stops dripping."""
    timer = threading.Timer(seconds + 5, time_is_up, (seconds, fleet))
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def fleet_for(arguments: argparse.Namespace):
    """The instances that run by then: of the command line, or started here."""
    if not arguments.instances:
        arguments.services = [loopback(url) for url in arguments.url or ["http://127.0.0.1:3000"]]
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="payments-fleet-") as temporary:
        directory = pathlib.Path(arguments.directory or temporary).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        fleet = Fleet(arguments.service, arguments.instances, arguments.seed, directory)
        arguments.services = fleet.addresses
        try:
            with fleet:
                yield fleet
        except (Failure, KeyError):
            print(fleet.last_lines())
            raise


def carry_out(arguments: argparse.Namespace, started: float) -> list[str]:
    """What went wrong."""
    with fleet_for(arguments) as fleet:
        watch(arguments.time_limit, fleet)
        run = Run(arguments, fleet)
        try:
            run.prepare()
            run.pay_all()
            found = run.differences()
        finally:
            if run.proxy.connections:
                run.summary(started)
        if found and fleet is not None:
            print(fleet.last_lines())
        if not found:
            print(run.verdict())
        return found


def main() -> int:
    started = time.monotonic()
    arguments = options()
    print(f"seed {arguments.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = carry_out(arguments, started)
    except Failure as failure:
        found = [str(failure)]
    except KeyError as missing:
        found = [f"an answer lacks the member {missing}"]
    except KeyboardInterrupt:
        found = ["interrupted"]
    for difference in found:
        print(f"FAILED: {difference}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
