"""Names as agents' tools return them: JSON flat and nested, logs, tables, key and value."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from models.train.names.marked import NamedText, read_marks
from models.train.names.pools import Names


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


_ROLES: Final = (
    "customer",
    "user",
    "passenger",
    "patient",
    "employee",
    "assignee",
    "author",
    "owner",
    "contact",
    "recipient",
    "sender",
    "reporter",
    "manager",
    "driver",
    "client",
    "member",
    "guest",
    "applicant",
    "cardholder",
    "account_holder",
    "approver",
    "reviewer",
    "created_by",
    "beneficiary",
    "tenant",
    "attendee",
)
_FULL_KEYS: Final = (
    "name",
    "full_name",
    "fullName",
    "display_name",
    "customer_name",
    "contactName",
    "passenger_name",
    "assigned_to",
    "from",
    "to",
    "author",
    "host",
)
_ORGANISATION_KEYS: Final = (
    "company",
    "employer",
    "organization",
    "vendor",
    "supplier",
    "merchant",
    "bank",
    "carrier",
    "school",
    "hospital",
    "publisher",
)
_PLACE_KEYS: Final = ("city", "location", "destination", "origin", "birthplace", "venue_city", "hometown", "ship_to", "office")
_PRODUCTS: Final = (
    "Water Bottle",
    "Office Chair",
    "Mechanical Keyboard",
    "Smart Thermostat",
    "Running Shoes",
    "Gaming Mouse",
    "Desk Lamp",
    "Air Purifier",
    "Coffee Maker",
    "Yoga Mat",
    "Cotton Shirt",
    "Wall Clock",
    "Bluetooth Speaker",
    "E-Reader",
    "Vacuum Cleaner",
    "Mountain Bike",
    "Garden Hose",
    "Leather Wallet",
    "USB Hub",
    "Fleece Jacket",
    "Jasmine Tea",
    "Summer Dress",
    "Amber Glass Vase",
    "Silver Ring",
    "Rose Soap",
    "Olive Oil",
    "Madeira Cake",
    "Savannah Sofa",
)
_WORDS: Final = _listed(
    "pending|delivered|cancelled|gold|silver|regular|business|economy|basic_economy|credit_card|gift_card|paypal|certificate"
    "|active|closed|open|urgent|low|high|visa|mastercard|approved|denied|draft|email|sms|round_trip|one_way|confirmed"
    "|waitlisted|available|landed|delayed|blue|black|large|small|leather"
)
_TOOLS: Final = (
    "get_user_details",
    "search_direct_flight",
    "update_ticket",
    "find_user_id",
    "send_email",
    "list_invoices",
    "create_order",
    "cancel_reservation",
    "lookup_account",
    "calendar.create_event",
    "crm.search",
    "db.query",
    "transfer_to_human_agents",
    "read_file",
    "web_search",
    "book_room",
)
_MONTHS: Final = _listed("January|February|March|April|May|June|July|August|September|October|November|December")


class Records:
    """Makes records with marked names.

    Args:
        names: Where names come from.
        random: Where chance comes from.
    """

    def __init__(self, names: Names, random: Random) -> None:
        self._names, self._random = names, random
        self._shapes: tuple[Callable[[], str], ...] = (
            self.user,
            self.user,
            self.booking,
            self.order,
            self.ticket,
            self.anything,
            self.people,
            self.event,
        )

    def text(self) -> NamedText:
        """Gives one record in one of the forms that tools return."""
        chance = self._random.random()
        if chance < 0.10:
            return read_marks(self.log())
        if chance < 0.15:
            return read_marks(self.table())
        if chance < 0.21:
            return read_marks(self.call())
        return read_marks(self._random.choice(self._shapes)())

    def _written(self, value: Any) -> str:
        """Gives a value as text: JSON compact or indented, a Python repr, lines of key and value."""
        chance = self._random.random()
        if chance < 0.55:
            return json.dumps(value, ensure_ascii=False)
        if chance < 0.70:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if chance < 0.82:
            return json.dumps(value, ensure_ascii=False, indent=self._random.choice((1, 2, 4)))
        if chance < 0.88:
            return repr(value)
        return "\n".join(_lines(value, ""))

    def _noise(self) -> tuple[str, Any]:
        random = self._random
        return random.choice(
            (
                ("id", random.randint(1, 10**7)),
                ("status", random.choice(_WORDS)),
                ("order_id", f"#W{random.randint(10**6, 10**7)}"),
                ("reservation_id", "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=6))),
                ("created_at", f"20{random.randint(15, 26)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}T{random.randint(0, 23):02}:15:00Z"),
                ("dob", f"19{random.randint(40, 99)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"),
                ("month", random.choice(_MONTHS)),
                ("amount", round(random.uniform(1, 900), 2)),
                ("product", random.choice(_PRODUCTS)),
                ("tier", random.choice(_WORDS)),
                ("tool", random.choice(_TOOLS)),
                ("payment_method", f"{random.choice(('credit_card', 'gift_card', 'certificate'))}_{random.randint(10**6, 10**7)}"),
                ("phone", f"+1-{random.randint(200, 999)}-{random.randint(200, 999)}-{random.randint(1000, 9999)}"),
                ("active", random.random() < 0.5),
                (
                    "note",
                    random.choice(("call back in May", "prefers window seat", "no changes", "April invoice open", "duplicate of an earlier case")),
                ),
                ("flight_number", f"HAT{random.randint(100, 300)}"),
                ("tags", random.sample(_WORDS, 2)),
            )
        )

    def _with_noise(self, fields: list[tuple[str, Any]], least: int = 0, most: int = 4) -> dict[str, Any]:
        fields = fields + [self._noise() for _ in range(self._random.randint(least, most))]
        if self._random.random() < 0.6:
            self._random.shuffle(fields)
        return dict(fields)

    def _name_fields(self, first: str, last: str) -> list[tuple[str, Any]]:
        given, family, whole = (f"[[PERSON|{name}]]" for name in (first, last, f"{first} {last}"))
        keys = self._random.choice(
            (("first_name", "last_name"), ("first_name", "last_name"), ("firstName", "lastName"), ("given_name", "family_name"), ("first", "last"))
        )
        parts = list(zip(keys, (given, family), strict=True))
        chance = self._random.random()
        return [("name", dict(parts))] if chance < 0.35 else parts if chance < 0.65 else [(self._random.choice(_FULL_KEYS), whole)]

    def _address(self) -> dict[str, Any]:
        names, random = self._names, self._random
        fields: list[tuple[str, Any]] = [(random.choice(("address1", "street", "line1")), names.street())]
        if random.random() < 0.5:
            fields.append((random.choice(("address2", "line2")), f"{random.choice(('Suite', 'Apt', 'Unit', 'Floor'))} {random.randint(1, 999)}"))
        fields += [("city", names.city()), ("country", names.country())]
        if random.random() < 0.7:
            fields.append((random.choice(("state", "province")), names.state_code() if random.random() < 0.7 else names.region()))
        return dict([*fields, (random.choice(("zip", "postal_code")), f"{random.randint(10000, 99999)}")])

    def _passengers(self) -> list[dict[str, Any]]:
        people = (self._names.person() for _ in range(self._random.randint(1, 4)))
        return [
            dict([*self._name_fields(*person), ("dob", f"19{self._random.randint(40, 99)}-03-{self._random.randint(10, 28)}")]) for person in people
        ]

    def user(self) -> str:
        """Gives a user's account."""
        first, last, user_id = self._names.user_id()
        fields: list[tuple[str, Any]] = self._name_fields(first, last)
        if self._random.random() < 0.5:
            fields.insert(0, (self._random.choice(("user_id", "username", "login", "id")), user_id))
        if self._random.random() < 0.6:
            fields.append(("address", self._address()))
        if self._random.random() < 0.6:
            fields.append(("email", self._names.email(first, last)))
        if self._random.random() < 0.2:
            fields.append((self._random.choice(_ORGANISATION_KEYS), self._names.organisation()))
        if self._random.random() < 0.25:
            fields.append(("saved_passengers", self._passengers()))
        record = self._with_noise(fields)
        return self._written({self._random.choice(_ROLES): record} if self._random.random() < 0.2 else record)

    def booking(self) -> str:
        """Gives a reservation."""
        _, _, user_id = self._names.user_id()
        fields: list[tuple[str, Any]] = [("user_id", user_id), ("passengers", self._passengers())]
        fields += [(key, self._names.city()) for key in self._random.sample(("origin", "destination"), self._random.randint(0, 2))]
        return self._written(self._with_noise(fields, 1, 5))

    def order(self) -> str:
        """Gives an order: products are no names."""
        _, _, user_id = self._names.user_id()
        items = [{"name": self._random.choice(_PRODUCTS), "price": self._random.randint(3, 400)} for _ in range(self._random.randint(1, 3))]
        fields: list[tuple[str, Any]] = [("items", items)]
        if self._random.random() < 0.8:
            fields.append(("user_id", user_id))
        if self._random.random() < 0.6:
            fields.append(("address", self._address()))
        return self._written(self._with_noise(fields))

    def ticket(self) -> str:
        """Gives a ticket with a sentence in it."""
        names = self._names
        fields: list[tuple[str, Any]] = [
            (self._random.choice(_ROLES), names.full()),
            (
                self._random.choice(("subject", "title")),
                self._random.choice(("Refund request", "Password reset", "Broken link on the May page", "Login fails")),
            ),
            (
                "description",
                self._random.choice(
                    (f"{names.full()} called from {names.city()}.", f"Please contact {names.first()} about this.", "It fails on start.")
                ),
            ),
        ]
        return self._written(self._with_noise(fields))

    def event(self) -> str:
        """Gives a calendar entry or a message."""
        names = self._names
        people = [names.full() for _ in range(self._random.randint(1, 4))]
        fields: list[tuple[str, Any]] = [
            (self._random.choice(("participants", "attendees", "to", "members")), people),
            (self._random.choice(_PLACE_KEYS), names.place()),
        ]
        if self._random.random() < 0.4:
            fields.append(
                (self._random.choice(("body", "message", "content")), f"Hi {names.first()}, see you in {names.city()}. Best, {names.first()}")
            )
        return self._written(self._with_noise(fields))

    def anything(self) -> str:
        """Gives a flat record with a few names under many keys."""
        names = self._names
        choices: list[tuple[str, Callable[[], str]]] = [(key, names.full) for key in (*_ROLES, *_FULL_KEYS)]
        choices += [(key, names.organisation) for key in _ORGANISATION_KEYS] * 2 + [(key, names.place) for key in _PLACE_KEYS] * 2
        return self._written(self._with_noise([(key, make()) for key, make in self._random.sample(choices, self._random.randint(0, 4))], 1, 5))

    def people(self) -> str:
        """Gives a list of ids or of people."""
        if self._random.random() < 0.4:
            return self._written({"results": [self._names.user_id()[2] for _ in range(self._random.randint(1, 4))]})
        return self._written([self._with_noise(self._name_fields(*self._names.person()), 0, 2) for _ in range(self._random.randint(1, 3))])

    def call(self) -> str:
        """Gives what an agent passes to a tool, or a single id."""
        first, last, user_id = self._names.user_id()
        tool = self._random.choice(_TOOLS)
        arguments: dict[str, Any] = self._random.choice(
            (
                {"user_id": user_id},
                {"first_name": f"[[PERSON|{first}]]", "last_name": f"[[PERSON|{last}]]", "zip": f"{self._random.randint(10000, 99999)}"},
                {"query": f"[[PERSON|{first} {last}]]"},
                {"city": self._names.city(), "days": 3},
                {"origin": "SFO", "destination": "JFK", "date": "2024-05-20"},
                {"reservation_id": "K1NW8N", "reason": "change of plan"},
            )
        )
        chance = self._random.random()
        if chance < 0.2:
            return user_id
        return json.dumps({"name": tool, "arguments": arguments} if chance < 0.5 else arguments, ensure_ascii=False)

    def log(self) -> str:
        """Gives a line of a log."""
        names, random = self._names, self._random
        _, _, user_id = names.user_id()
        line = random.choice(
            (
                f"user={user_id} action={random.choice(_WORDS)} tool={random.choice(_TOOLS)} latency_ms={random.randint(1, 900)}",
                f"login ok for {user_id} from {names.city()}",
                f"[{random.choice(_TOOLS)}] assigned to {names.full()}",
                f'customer="{names.full()}" company="{names.organisation()}" status={random.choice(_WORDS)}',
                f"mail to {names.full()} queued ({random.randint(1, 99)} recipients)",
                f"{random.choice(_TOOLS)} failed: timeout after {random.randint(1, 60)} s, retry {random.randint(1, 5)}",
                f"worker-{random.randint(1, 9)} session {random.randint(10**6, 10**7)} closed by {names.first()}",
            )
        )
        day, time = f"2026-{random.randint(1, 12):02}-{random.randint(1, 28):02}", f"{random.randint(0, 23):02}:{random.randint(0, 59):02}:07"
        return f"{day} {time} {random.choice(('INFO', 'WARN', 'ERROR'))} {line}"

    def table(self) -> str:
        """Gives rows of values: CSV or Markdown."""
        bar = self._random.choice((",", ";", " | ", "\t"))
        rows = [bar.join(("name", "city", "plan"))]
        rows += [bar.join((self._names.full(), self._names.city(), self._random.choice(_WORDS))) for _ in range(self._random.randint(1, 4))]
        return "\n".join(rows)


def _lines(value: Any, indent: str) -> list[str]:
    """Gives nested values as indented lines of key and value."""
    if isinstance(value, list):
        return [line for item in value for line in (_lines(item, indent + "  ") if isinstance(item, dict) else [f"{indent}- {item}"])]
    lines: list[str] = []
    for key, item in value.items():
        lines += [f"{indent}{key}:", *_lines(item, indent + "  ")] if isinstance(item, (dict, list)) else [f"{indent}{key}: {item}"]
    return lines
