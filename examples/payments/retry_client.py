#!/usr/bin/env python3
"""Makes payments over connections that break, and checks that each payment was made once.

A proxy in this script cuts every third connection at a random point: before the request is
complete, while the service works, or during the response. Each payment has one Idempotency-Key and
is retried with it until it has a final response. At the end the script compares the balances, the
list and every response over a direct connection. It exits with 0 if all agree. Otherwise it prints
the differences and exits with 1.

    python3 retry_client.py --url http://127.0.0.1:3000 --key sk_test_alice --seed 7

With --instances it starts that many instances on one database, and kills and restarts them. With
--store postgres, the database is a PostgreSQL server that the script starts, pauses and restarts.
The script also makes payouts, and compares them with the transfers of the bank. No outcome may be
unknown.

    python3 retry_client.py --instances 2 --store postgres --service target/debug/payments

With --control the client makes a mistake: it retries with a new key. The run then succeeds if the
checks find payments that were made more than once.
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
from client import Client, Deadline, Failure, Response
from databases import DATABASES
from fleet import Fleet, Progress
from proxy import CuttingProxy

TIME_LIMIT = 100.0
"""Seconds after which the script fails."""

TIME_LIMIT_WITH_FLEET = 150.0

MAX_PAYMENTS = 1000
"""The maximum number of payments while faults are still to be injected."""

FUNDS = 10**12
"""The balance of the payer at the start. It is enough even if every payment is made several times."""

ORDERS_PER_PAYOUT = 6
"""With a fleet, every sixth order is a payout instead of a payment."""

SHOWN_DUPLICATES = 3
"""The number of payments that a control run prints."""


class Run:
    """One run of the script: two accounts, the orders, and the responses."""

    def __init__(self, options: argparse.Namespace, fleet: Fleet | None):
        self.options = options
        self.fleet = fleet
        self.deadline = Deadline(options.time_limit)
        self.proxy = CuttingProxy(options.services, options.seed)
        self.client = Client([self.proxy.address], options.key, self.deadline, options.control)
        self.direct = Client(options.services, options.key, self.deadline)
        count = options.payments if fleet is None else MAX_PAYMENTS
        self.amounts = random.Random(options.seed).sample(range(1, 10001), count)
        self.next_index = 0
        self.orders: list[Order] = []
        self.progress = Progress()
        self.injecting = fleet is not None
        self.replayed = 0
        self.lock = threading.Lock()

    def prepare(self) -> None:
        """Opens the accounts and deposits the funds, also through the proxy."""
        for service in self.options.services:
            try:
                Client([service], self.options.key, self.deadline).send("GET", "/v1/health", None, None)
            except OSError as error:
                raise Failure(f"no service responds at {service[0]}:{service[1]}: {error}") from error
        payer, payee = (self.open(owner) for owner in ("Payer", "Payee"))
        # In a control run, only payments are made more than once.
        client = self.direct if self.options.control else self.client
        client.call("POST", f"/v2/accounts/{payer}/deposit", {"amount": FUNDS}, expect=201)
        self.books = Books(self.direct, payer, payee, FUNDS, self.fleet and self.fleet.bank)

    def open(self, owner: str) -> str:
        new = {"owner": owner, "currency": "EUR"}
        return self.client.call("POST", "/v2/accounts", new, expect=201).body["id"]

    def pay_all(self) -> None:
        """Makes the payments, and injects faults into the fleet at the same time."""
        pool = concurrent.futures.ThreadPoolExecutor(self.options.parallel + 1)
        tasks = [self.pay_in_turn] * self.options.parallel + [self.inject_faults] * self.injecting
        try:
            for future in concurrent.futures.as_completed([pool.submit(task) for task in tasks]):
                future.result()
        except BaseException:
            self.deadline.expire()
            raise
        finally:
            self.progress.end()
            pool.shutdown(wait=False, cancel_futures=True)

    def inject_faults(self) -> None:
        self.fleet.inject_all_faults(self.progress)
        self.injecting = False

    def pay_in_turn(self) -> None:
        while (order := self.next_order()) is not None:
            order.response = self.send(self.client, order)
            with self.lock:
                self.orders.append(order)
            self.progress.add()

    def next_order(self) -> Order | None:
        """The next order: `--payments` of them, and more while faults are being injected."""
        with self.lock:
            number, self.next_index = self.next_index, self.next_index + 1
        if number >= self.options.payments and not self.injecting:
            return None
        if number >= len(self.amounts):
            raise Failure(f"{len(self.amounts)} payments ended before all faults had been injected")
        is_payout = self.fleet is not None and number % ORDERS_PER_PAYOUT == ORDERS_PER_PAYOUT - 1
        return Order(self.amounts[number], str(uuid.uuid4()), is_payout)

    def send(self, client: Client, order: Order) -> Response:
        path, body = self.books.request(order)
        return client.call("POST", path, body, 201, key=order.key)

    def differences(self) -> list[str]:
        """The differences that are visible over direct connections."""
        found = []
        if self.fleet is not None and not self.options.control:
            self.fleet.restart_gracefully()
            found = [text for order in self.orders for text in self.differing_retry(order)]
        return found + self.books.differences(self.orders)

    def differing_retry(self, order: Order) -> list[str]:
        """Retries a key that had a response: the response must be the same."""
        again = self.send(self.direct, order)
        self.replayed += 1
        if again.replayed and again.body == order.response.body:
            return []
        return [f"the order of {order.amount} had the response {order.response}, and later {again}"]

    def summary(self, started: float) -> None:
        cuts, retries = self.proxy.cuts, self.client.retries
        print(f"{self.proxy.connections} connections, {sum(cuts.values())} cut: {counted(cuts)}")
        print(f"{sum(retries.values())} retries: {counted(retries)}; {self.client.replays} replays")
        payouts = sum(order.is_payout for order in self.orders)
        seconds = time.monotonic() - started
        print(f"{len(self.orders) - payouts} payments and {payouts} payouts; {seconds:.1f} s")
        if self.fleet is not None:
            print(f"{self.replayed} responses replayed at the end; {counted(self.fleet.faults)}")

    def control_failures(self, found: list[str]) -> list[str]:
        """The failures of a control run, which succeeds if the checks find duplicates."""
        duplicates = self.books.repeated(self.orders)
        for text in found[:SHOWN_DUPLICATES]:
            print(f"found: {text}")
        if not duplicates:
            return ["no payment was made more than once, although the client retried with new keys"]
        print(f"{len(duplicates)} payments were made more than once, and the checks found them")
        return []

    def conclusion(self) -> str:
        if self.fleet is None:
            return "every payment was made exactly once"
        return "every payment was made exactly once, and no outcome was unknown"


def counted(counter: collections.Counter) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"


# --- the command line --------------------------------------------------------------------------


def loopback(url: str) -> tuple[str, int]:
    """The address of the service. Only loopback is accepted, because this script breaks connections."""
    parts = urllib.parse.urlsplit(url)
    host = {"localhost": "127.0.0.1"}.get(parts.hostname or "", parts.hostname or "")
    try:
        if parts.scheme == "http" and ipaddress.ip_address(host).is_loopback:
            return host, parts.port or 80
    except ValueError:
        pass
    raise Failure(f"--url {url}: expected http:// and a loopback address, such as http://127.0.0.1:3000")


def positive(text: str) -> int:
    if not 1 <= int(text) <= MAX_PAYMENTS:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MAX_PAYMENTS}")
    return int(text)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--url",
        action="append",
        help="the service, on loopback; with several --url each request goes to a random one",
    )
    parser.add_argument("--instances", type=positive, help="the number of instances to start, kill and restart")
    parser.add_argument(
        "--store",
        choices=list(DATABASES),
        help="the database of --instances: one SQLite file (default), or a PostgreSQL that this starts",
    )
    parser.add_argument("--service", default="target/debug/payments", help="the binary to start")
    parser.add_argument("--directory", help="a directory for the database, the bank and the logs; without it they are removed")
    parser.add_argument("--control", action="store_true", help="retry with new keys, and check that the checks find duplicates")
    parser.add_argument("--key", default="sk_test_alice", help="the API key")
    parser.add_argument("--payments", type=positive, default=90)
    parser.add_argument("--parallel", type=positive, default=16, help="the number of concurrent payments")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the seed of the faults; the same seed repeats them")
    arguments = parser.parse_args()
    if arguments.instances and arguments.url:
        parser.error("--url and --instances exclude each other: --url uses running services, --instances starts its own")
    if arguments.store and not arguments.instances:
        parser.error("--store needs --instances: a running service has its own store")
    arguments.time_limit = TIME_LIMIT_WITH_FLEET if arguments.instances else TIME_LIMIT
    return arguments


def time_is_up(seconds: float, fleet: Fleet | None) -> None:
    print(f"FAILED: not done after {seconds:.0f} s", flush=True)
    if fleet is not None:
        fleet.kill_all()
    os._exit(1)


def watch(seconds: float, fleet: Fleet | None) -> None:
    """Ends the process even if a connection sends bytes so slowly that no read times out."""
    timer = threading.Timer(seconds + 5, time_is_up, (seconds, fleet))
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def fleet_for(arguments: argparse.Namespace):
    """Sets `arguments.services` to running services: those of --url, or a fleet that this starts."""
    if not arguments.instances:
        arguments.services = [loopback(url) for url in arguments.url or ["http://127.0.0.1:3000"]]
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="payments-fleet-", ignore_cleanup_errors=True) as temporary:
        os.chmod(temporary, 0o755)  # PostgreSQL may run as another user.
        directory = pathlib.Path(arguments.directory or temporary).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        store = arguments.store or "sqlite"
        fleet = Fleet(arguments.service, arguments.instances, store, arguments.seed, directory)
        arguments.services = fleet.addresses
        try:
            with fleet:
                yield fleet
        except (Failure, KeyError):
            print(fleet.last_lines())
            raise


def run_script(arguments: argparse.Namespace, started: float) -> list[str]:
    """Runs the script; returns the differences that it found."""
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
        if arguments.control:
            return run.control_failures(found)
        if found and fleet is not None:
            print(fleet.last_lines())
        if not found:
            print(run.conclusion())
        return found


def main() -> int:
    started = time.monotonic()
    arguments = options()
    print(f"seed {arguments.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = run_script(arguments, started)
    except Failure as failure:
        found = [str(failure)]
    except KeyError as missing:
        found = [f"a response has no member {missing}"]
    except KeyboardInterrupt:
        found = ["interrupted"]
    for difference in found:
        print(f"FAILED: {difference}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
