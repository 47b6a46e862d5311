"""Text as agents write it: prompts, tool arguments, tool results, thoughts. Seeded, in English, with personal data where users would give it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

from faker import Faker

_TOPICS = ("refund", "order", "booking", "invoice", "ticket", "shipment", "subscription", "password reset", "data export", "upgrade")
_TOOLS = ("search_orders", "get_user_details", "update_reservation", "send_email", "query_database", "fetch_page", "calculate", "think")
_CITIES = ("Austin, TX", "Denver, CO", "Boston, MA", "Seattle, WA", "Chicago, IL")


class AgentText:
    """A stream of distinct texts.

    Args:
        seed: The same seed gives the same texts.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._faker = Faker("en_US")
        self._faker.seed_instance(seed)
        self._kinds: tuple[tuple[int, Callable[[], str]], ...] = (
            (25, self.prose), (12, self.user_turn), (18, self.thought), (15, self.tool_call),
            (12, self.tool_result), (8, self.log_line), (10, self.code),
        )  # fmt: skip

    def mixed(self, count: int) -> list[str]:
        """Prose, user turns, thoughts, tool calls and results, log lines and code, about 150 characters each."""
        weights = [weight for weight, _ in self._kinds]
        kinds = [kind for _, kind in self._kinds]
        return [kind() for kind in self._random.choices(kinds, weights, k=count)]

    def id_heavy(self, count: int) -> list[str]:
        """JSON of identifiers, times and amounts, as tools return it: nearly every text could hold a pattern."""
        return [self.record() for _ in range(count)]

    def record(self) -> str:
        pick = self._random
        return json.dumps(
            {
                "order_id": f"ORD-{pick.randint(10**7, 10**8)}",
                "session": self._faker.uuid4(),
                "created_at": self._faker.date_time().strftime("%Y-%m-%dT%H:%M:%SZ"),
                "updated": pick.randint(1_600_000_000, 1_800_000_000),
                "customer": {"id": pick.randint(10**5, 10**9), "phone": self._faker.phone_number(), "email": self._faker.email()},
                "items": [
                    {"sku": f"SKU{pick.randint(1000, 99999)}-{pick.randint(10, 99)}", "qty": pick.randint(1, 9), "price": pick.random() * 900}
                    for _ in range(pick.randint(1, 3))
                ],
                "trace": f"{pick.getrandbits(128):032x}",
            }
        )

    def prose(self) -> str:
        return self._faker.paragraph(nb_sentences=self._random.randint(1, 4))

    def user_turn(self) -> str:
        return self._random.choice(self._user_turns)(self)

    def thought(self) -> str:
        pick = self._random
        return (
            f"The user asks about a {pick.choice(_TOPICS)}. I should call {pick.choice(_TOOLS)} with the id from step {pick.randint(1, 12)}, "
            f"then compare {pick.randint(1, 40)} results and {self._faker.word()} the {self._faker.word()} {self._faker.word()}. "
            f"Confidence {pick.random():.2f}."
        )

    def tool_call(self) -> str:
        pick = self._random
        arguments = {"query": " ".join(self._faker.words(4)), "limit": pick.randint(1, 50), "filter": {self._faker.word(): self._faker.word()}}
        return f"{pick.choice(_TOOLS)}({json.dumps(arguments)})"

    def tool_result(self) -> str:
        return self.record() if self._random.random() < 0.3 else json.dumps({self._faker.word(): self._faker.sentence() for _ in range(3)})

    def log_line(self) -> str:
        pick = self._random
        stamp = self._faker.date_time().strftime("%Y-%m-%d %H:%M:%S")
        return (
            f"{stamp} {pick.choice(('INFO', 'WARN'))} worker-{pick.randint(1, 64)} {pick.choice(_TOOLS)} took {pick.randint(1, 9999)} ms "
            f"from {self._faker.ipv4()} status={pick.choice((200, 404, 500))} {self._faker.sentence()}"
        )

    def code(self) -> str:
        a, b, c = self._faker.words(3)
        return f"def {a}_{b}({c}: int = {self._random.randint(0, 99)}) -> list[str]:\n    return [{a}.{b}() for {a} in {c}.items() if {a}.{c} > 3.14]"

    _user_turns: tuple[Callable[[AgentText], str], ...] = (
        lambda s: f"Hi, I am {s._faker.name()}, my email is {s._faker.email()} and my order is #W{s._random.randint(10**6, 10**7)}.",
        lambda s: f"Please call me at {s._faker.phone_number()} about the {s._random.choice(_TOPICS)}, I am home after six.",
        lambda s: f"I want to pay with my card {s._faker.credit_card_number()}, it expires {s._faker.credit_card_expire()}.",
        lambda s: f"My new address is {s._faker.street_address()}, {s._random.choice(_CITIES)} {s._faker.postcode()}, thanks.",
        lambda s: f"I was born on {s._faker.date_of_birth().isoformat()}, my social security number is {s._faker.ssn()}.",
        lambda s: f"Can you look at {s._faker.url()} and tell me why the {s._random.choice(_TOPICS)} is not done? {s._faker.sentence()}",
        lambda s: f"Use the card ending in {s._random.randint(1000, 9999)} for the {s._random.choice(_TOPICS)}. {s._faker.sentence()}",
        lambda s: f"Send it to the bank account {s._faker.iban()}. {s._faker.sentence()}",
    )


def endless(seed: int) -> Iterator[str]:
    """Mixed texts without end."""
    source = AgentText(seed)
    while True:
        yield from source.mixed(1_000)
