"""Comparison of the ledger at the end of a run with the responses during the run."""

from __future__ import annotations

import dataclasses
import json
import urllib.parse

from client import Response, Client, Failure


@dataclasses.dataclass
class Order:
    """A requested payment. Each payment of a run has a different amount."""

    amount: int
    key: str
    response: Response


class Books:
    """The two accounts of a run, and the payments between them."""

    def __init__(self, direct: Client, payer: str, payee: str, funds: int):
        self.direct = direct
        self.payer = payer
        self.payee = payee
        self.funds = funds
        self.listed: dict[str, dict] = {}

    def new_payment(self, amount: int) -> dict:
        return {"from": self.payer, "to": self.payee, "amount": amount}

    def differences(self, orders: list[Order]) -> list[str]:
        """The differences between the ledger and the responses, one text each."""
        self.listed, repeated = self.list_payments()
        found = [f"{id} is listed more than once" for id in repeated]
        if list(self.listed) != sorted(self.listed, reverse=True):
            found.append("the list is not ordered from the newest to the oldest")
        found += self.wrong_balances() + self.wrong_amounts(orders)
        for order in orders:
            found += [] if order.response.is_unknown else self.differing_responses(order)
        return found

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

    def wrong_balances(self) -> list[str]:
        """Differences between the balances and the sum of the listed payments."""
        paid = sum(payment["amount"] for payment in self.listed.values())
        found = []
        for account, balance in {self.payer: self.funds - paid, self.payee: paid}.items():
            held = self.direct.call("GET", f"/v2/accounts/{account}").body["balance"]["amount"]
            if held != balance:
                found.append(f"the balance of {account} is {held} instead of {balance}")
        return found

    def wrong_amounts(self, orders: list[Order]) -> list[str]:
        """Orders that are not listed exactly once, and listed payments without an order.

        An order with an unknown outcome may be missing.
        """
        found = []
        for order in orders:
            ids, unknown = self.of_amount(order.amount), order.response.is_unknown
            if len(ids) > 1 or not ids and not unknown:
                found.append(f"the payment of {order.amount} is listed as {ids}, but its response was {order.response}")
        amounts = {order.amount for order in orders}
        others = [id for id, payment in self.listed.items() if payment["amount"] not in amounts]
        return found + [f"{id} is listed, but was never requested" for id in others]

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
