"""What the service says of the payments in the end, compared with what it answered."""

from __future__ import annotations

import dataclasses
import json
import urllib.parse

from client import Answer, Client, Failure


@dataclasses.dataclass
class Order:
    """A payment that was asked for. No other of the run has its amount."""

    amount: int
    key: str
    answer: Answer


class Books:
    """The accounts of a run, and the payments between them."""

    def __init__(self, direct: Client, payer: str, payee: str, funds: int):
        self.direct = direct
        self.payer = payer
        self.payee = payee
        self.funds = funds
        self.listed: dict[str, dict] = {}

    def new_payment(self, amount: int) -> dict:
        return {"from": self.payer, "to": self.payee, "amount": amount}

    def differences(self, orders: list[Order]) -> list[str]:
        """What is not as it must be."""
        self.listed, repeated = self.list_payments()
        found = [f"{id} is listed more than once" for id in repeated]
        if list(self.listed) != sorted(self.listed, reverse=True):
            found.append("the list is not ordered from the newest to the oldest")
        found += self.wrong_balances() + self.wrong_amounts(orders)
        for order in orders:
            found += [] if order.answer.is_unknown else self.differing_views(order)
        return found

    def of_amount(self, amount: int) -> list[str]:
        """The identifiers of the listed payments of this amount."""
        return [id for id, payment in self.listed.items() if payment["amount"] == amount]

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
        """The balances must be those after exactly the payments that are listed."""
        paid = sum(payment["amount"] for payment in self.listed.values())
        found = []
        for account, balance in {self.payer: self.funds - paid, self.payee: paid}.items():
            held = self.direct.call("GET", f"/v2/accounts/{account}").body["balance"]["amount"]
            if held != balance:
                found.append(f"{account} holds {held} instead of {balance}")
        return found

    def wrong_amounts(self, orders: list[Order]) -> list[str]:
        """Each order is listed once, or at most once if its outcome is unknown; nothing else is."""
        found = []
        for order in orders:
            ids, unknown = self.of_amount(order.amount), order.answer.is_unknown
            if len(ids) > 1 or not ids and not unknown:
                found.append(f"{order.amount} is listed as {ids}, and was answered {order.answer}")
        amounts = {order.amount for order in orders}
        others = [id for id, payment in self.listed.items() if payment["amount"] not in amounts]
        return found + [f"{id} is listed and was never asked for" for id in others]

    def differing_views(self, order: Order) -> list[str]:
        """The list must say what the answer said; after a retry so must the payment itself."""
        payment, asked, found = order.answer.body, self.new_payment(order.amount), []
        if {name: payment[name] for name in asked} != asked:
            found.append(f"asked for {asked}, answered {payment}")
        if self.listed.get(payment["id"]) != payment:
            found.append(f"answered {payment}, listed {self.listed.get(payment['id'])}")
        if order.answer.attempts > 1:
            location = urllib.parse.urlsplit(order.answer.headers.get("Location", "")).path
            if location != f"/v1/payments/{payment['id']}":
                return found + [f"{payment['id']} was answered with Location: {location}"]
            read = self.direct.call("GET", location).body
            if read != payment:
                found.append(f"answered {payment}, reads {read}")
        return found
