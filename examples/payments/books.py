"""Comparison of the ledger at the end of a run with the responses during the run."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import urllib.parse

from client import Response, Client, Failure


IBAN = "DE89370400440532013000"


@dataclasses.dataclass
class Order:
    """A requested payment or payout. Each one of a run has a different amount."""

    amount: int
    key: str
    is_payout: bool
    response: Response | None = None


class Books:
    """The two accounts of a run, the payments between them, and the payouts of the payer."""

    def __init__(self, direct: Client, payer: str, payee: str, funds: int, bank: pathlib.Path | None):
        self.direct = direct
        self.payer = payer
        self.payee = payee
        self.funds = funds
        self.bank = bank
        self.listed: dict[str, dict] = {}

    def request(self, order: Order) -> tuple[str, dict]:
        """The path and the body of the request for an order."""
        if order.is_payout:
            return f"/v2/accounts/{self.payer}/payouts", {"iban": IBAN, "amount": order.amount}
        return "/v1/payments", self.new_payment(order.amount)

    def new_payment(self, amount: int) -> dict:
        return {"from": self.payer, "to": self.payee, "amount": amount}

    def differences(self, orders: list[Order]) -> list[str]:
        """The differences between the ledger, the bank and the responses, one text each."""
        payments = [order for order in orders if not order.is_payout]
        payouts = [order for order in orders if order.is_payout]
        self.listed, repeated = self.list_payments()
        found = [f"{id} is listed more than once" for id in repeated]
        if list(self.listed) != sorted(self.listed, reverse=True):
            found.append("the list is not ordered from the newest to the oldest")
        found += self.wrong_balances(payouts) + self.wrong_amounts(payments)
        for order in payments:
            found += self.differing_responses(order)
        return found + self.wrong_transfers(payouts)

    def repeated(self, orders: list[Order]) -> list[Order]:
        """The payments that were made more than once."""
        return [order for order in orders if len(self.of_amount(order.amount)) > 1]

    def of_amount(self, amount: int) -> list[str]:
        """The identifiers of the listed payments with this amount."""
        return [id for id, payment in self.listed.items() if payment["amount"] == amount]

    def list_payments(self) -> tuple[dict, list[str]]:
        """The payments of the payer's account by id, and the ids that are listed more than once."""
        listed, repeated, cursor, pages = {}, [], None, 0
        while pages == 0 or cursor is not None:
            query = {"account": self.payer, "limit": 20, **({"cursor": cursor} if cursor else {})}
            page = self.direct.call("GET", "/v1/payments?" + urllib.parse.urlencode(query)).body
            repeated += [row["id"] for row in page["data"] if row["id"] in listed]
            listed.update((row["id"], row) for row in page["data"])
            cursor = page["next_cursor"]
            pages += 1
            if page["has_more"] != (cursor is not None) or (cursor and not page["data"]):
                raise Failure(f"page {pages} has members that contradict each other: {json.dumps(page)}")
            if repeated:
                break
        return listed, repeated

    def wrong_balances(self, payouts: list[Order]) -> list[str]:
        """Differences between the balances and the sum of the listed payments and the payouts."""
        paid = sum(payment["amount"] for payment in self.listed.values())
        paid_out = sum(order.amount for order in payouts)
        found = []
        for account, balance in {self.payer: self.funds - paid - paid_out, self.payee: paid}.items():
            held = self.direct.call("GET", f"/v2/accounts/{account}").body["balance"]["amount"]
            if held != balance:
                found.append(f"the balance of {account} is {held} instead of {balance}")
        return found

    def wrong_amounts(self, payments: list[Order]) -> list[str]:
        """Orders that are not listed exactly once, and listed payments without an order."""
        found = []
        for order in payments:
            ids = self.of_amount(order.amount)
            if len(ids) != 1:
                found.append(f"the payment of {order.amount} is listed as {ids}, but its response was {order.response}")
        amounts = {order.amount for order in payments}
        others = [id for id, payment in self.listed.items() if payment["amount"] not in amounts]
        return found + [f"{id} is listed, but was never requested" for id in others]

    def wrong_transfers(self, payouts: list[Order]) -> list[str]:
        """Differences between the payouts and the transfers of the bank."""
        if self.bank is None:
            return []
        transfers = [json.loads(file.read_text()) for file in self.bank.glob("*.json")]
        found = [f"the bank has transferred {transfer}, which was never paid out"
                 for transfer in transfers if transfer not in [order.response.body for order in payouts]]
        for order in payouts:
            if transfers.count(order.response.body) != 1:
                found.append(f"the bank has not transferred {order.response.body}")
        return found

    def differing_responses(self, order: Order) -> list[str]:
        """Differences between a response and the list, and after a retry also the payment itself."""
        payment, requested, found = order.response.body, self.new_payment(order.amount), []
        if {name: payment[name] for name in requested} != requested:
            found.append(f"requested {requested}, response {payment}")
        if self.listed.get(payment["id"]) != payment:
            found.append(f"response {payment}, listed {self.listed.get(payment['id'])}")
        if order.response.attempts > 1:
            location = urllib.parse.urlsplit(order.response.headers.get("Location", "")).path
            if location != f"/v1/payments/{payment['id']}":
                return found + [f"the Location of {payment['id']} is {location}"]
            read = self.direct.call("GET", location).body
            if read != payment:
                found.append(f"response {payment}, read {read}")
        return found
