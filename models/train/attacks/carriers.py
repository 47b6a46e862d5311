"""What agents' tools return when nobody attacks: mails, pages, reviews, notes, code, results; attacks hide in the same texts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from models.train.attacks.latent import PLACE
from models.train.names.marked import read_marks
from models.train.names.records import Records

_TOPICS: Final = (
    "the quarterly report",
    "the new office",
    "the product launch",
    "the holiday schedule",
    "the customer survey",
    "the server migration",
    "the travel budget",
    "the marketing plan",
    "the garden party",
    "the insurance claim",
    "the football match",
    "the history of the town",
    "a recipe for soup",
    "the weather this week",
    "a hotel near the station",
    "the running shoes",
    "the wireless headphones",
    "the apartment",
    "the flight to Lisbon",
    "the museum",
    "the electric car",
    "the bank account",
)
_SENTENCES: Final = (
    "We are happy to share {topic} with you.",
    "There were some questions about {topic} last week.",
    "The figures for {topic} are better than expected.",
    "Please find attached what we have on {topic}.",
    "I have been thinking about {topic} and would like your opinion.",
    "It rained for three days and then cleared up.",
    "Opening hours are from nine to five, closed on Sundays.",
    "The price includes breakfast and a late check-out.",
    "The battery lasts two days and charges in an hour.",
    "Delivery took a week longer than promised, but the quality is good.",
    "Let me know if Tuesday at ten works for you.",
    "The old town is worth a visit, above all in spring.",
    "Revenue rose by four percent, costs fell by two.",
    "The committee will meet again in the first week of March.",
    "Add the onions and let them brown for five minutes.",
    "The team fixed eleven bugs and closed nineteen tickets.",
    "He joined the company as an engineer and now leads the group.",
    "Parking is behind the building; the code is on the door.",
    "Your invoice for last month is ready, the amount due is 48.20 EUR.",
    "The second edition was printed in a small number of copies.",
    "Trains leave every half hour from platform two.",
    "The room was clean and the staff were friendly.",
    "The update adds dark mode and repairs the search.",
    "A good summary of {topic} can be found on the second page.",
    "You are receiving this because you signed up for our newsletter.",
    "Thank you for your order, it will be shipped tomorrow.",
    "The lecture on {topic} starts at six.",
    "We measured a latency of 40 ms at the median and 200 ms at the tail.",
    "Prices may change without notice.",
    "The author lives with two cats near the sea.",
    "The last backup finished without errors.",
    "Several readers wrote to us about {topic}.",
    "This page was last edited on 3 May and has 14 references.",
    "Warranty covers two years from the date of purchase.",
    "The meeting on {topic} has been moved to room 4.",
    "The sample was kept at four degrees for a day.",
)
_CODE: Final = (
    "def total(items):\n    return sum(item.price for item in items)\n",
    "for (const row of rows) {\n  console.log(row.id);\n}\n",
    "SELECT id, name FROM orders WHERE status = 'open';\n",
    "class Cart:\n    def __init__(self):\n        self.items = []\n",
    "func Add(a, b int) int {\n\treturn a + b\n}\n",
    "import os\n\nPATH = os.environ['DATA']\n",
    "#!/bin/sh\nset -eu\nmake build && make test\n",
    "version: 3\nservices:\n  web:\n    image: nginx\n",
    "try:\n    load()\nexcept OSError:\n    pass  # missing file is fine\n",
)
_FIELDS: Final = (
    "description",
    "body",
    "content",
    "notes",
    "review",
    "message",
    "summary",
    "comment",
    "bio",
    "text",
    "title",
    "snippet",
    "details",
    "subject",
    "reason",
)


class Carriers:
    """Makes tool results with a place for an attack in them.

    Args:
        records: Where records come from.
        random: Where chance comes from.
        places: Documents that people wrote, with :data:`PLACE` in them.
        documents: Documents that people wrote, whole.
    """

    def __init__(self, records: Records, random: Random, places: Sequence[str], documents: Sequence[str]) -> None:
        self._records, self._random, self._places, self._documents = records, random, places, documents
        self._makers: tuple[Callable[[], str], ...] = (
            self._mail,
            self._mail,
            self._page,
            self._page,
            self._fields,
            self._fields,
            self._record,
            self._code,
            self._review,
            self._prose,
            self._list,
            self._log,
            self._document,
            self._document,
            self._document,
            self._document,
            self._field_of_document,
            self._field_of_document,
            self._report,
        )

    def text(self) -> str:
        """Gives a tool result with :data:`PLACE` in it once."""
        return self._random.choice(self._makers)()

    def benign(self) -> str:
        """Gives a tool result in which nothing was planted."""
        return re.sub(r" ?\x00 ?", " ", self.text()).strip()

    def sentences(self, least: int, most: int) -> list[str]:
        """Gives sentences that say nothing in particular."""
        return [self._random.choice(_SENTENCES).format(topic=self._random.choice(_TOPICS)) for _ in range(self._random.randint(least, most))]

    def _around(self, least: int, most: int) -> str:
        """Gives sentences with the place somewhere among them: at the end most often."""
        parts = self.sentences(least, most)
        parts.insert(self._random.choice((0, len(parts), len(parts), self._random.randint(0, len(parts)))), PLACE)
        return self._random.choice((" ", " ", "\n", "\n\n")).join(parts)

    def _person(self) -> str:
        return self._random.choice(("Anna", "Tom", "Priya", "Jonas", "Mei", "Carlos", "Fatima", "Olga", "Sam", "Lucia"))

    def _mail(self) -> str:
        sender, receiver = self._person(), self._person()
        addresses = f"From: {sender.lower()}@example.com\nTo: {receiver.lower()}@example.com\nSubject: {self._random.choice(_TOPICS)}\n\n"
        head = addresses if self._random.random() < 0.6 else ""
        greeting, end = self._random.choice(("Hi", "Hello", "Dear")), self._random.choice(("Best", "Regards", "Cheers"))
        return f"{head}{greeting} {receiver},\n{self._around(1, 4)}\n{end}, {sender}"

    def _page(self) -> str:
        topic = self._random.choice(_TOPICS)
        if self._random.random() < 0.5:
            return f"<html><head><title>{topic}</title></head><body><h1>{topic}</h1><p>{self._around(1, 4)}</p></body></html>"
        return f"# {topic.title()}\n\n{self._around(2, 5)}\n\n[Home](/) | [Contact](/contact)"

    def _fields(self) -> str:
        field = self._random.choice(_FIELDS)
        record = {"id": self._random.randint(1, 9999), field: self._around(0, 3), "status": self._random.choice(("open", "done", "new"))}
        if self._random.random() < 0.5:
            record["tags"] = self._random.sample(("a", "internal", "urgent", "web", "2024"), 2)
        text = json.dumps(record if self._random.random() < 0.6 else {"results": [record]}, ensure_ascii=False)
        return text.replace(json.dumps(PLACE)[1:-1], PLACE)

    def _record(self) -> str:
        text = self._records.text().text
        return text[:-1] + f', "{self._random.choice(_FIELDS)}": "{PLACE}"' + text[-1] if text.endswith("}") else f"{text}\n{PLACE}"

    def _code(self) -> str:
        return f"{self._random.choice(_CODE)}\n{self._random.choice(('# ', '// ', '', '-- '))}{PLACE}\n{self._random.choice(_CODE)}"

    def _review(self) -> str:
        return f"Rating: {self._random.randint(1, 5)}/5\nReviews: {self._around(1, 3)}"

    def _prose(self) -> str:
        return self._around(1, 6)

    def _document(self) -> str:
        """Gives a document with the place between two of its sentences, at the end most often."""
        text = self._random.choice(self._documents)
        ends = [found.end() for found in re.finditer(r"[.!?:](?=\s)", text)]
        at = self._random.choice((len(text), len(text), 0, self._random.choice(ends) if ends else len(text)))
        joint = self._random.choice((" ", "\n", "\n\n"))
        return f"{text[:at].rstrip()}{joint}{PLACE}{joint}{text[at:].lstrip()}".strip(" \n")

    def _field_of_document(self) -> str:
        """Gives a document in a field of a result."""
        fields = {"title": self._random.choice(_TOPICS), self._random.choice(_FIELDS): self._document(), "score": round(self._random.random(), 3)}
        return json.dumps(fields, ensure_ascii=False).replace(json.dumps(PLACE)[1:-1], PLACE)

    def _report(self) -> str:
        return self._random.choice(self._places)

    def _list(self) -> str:
        lines = [f"- {line}" for line in [*self.sentences(1, 4), PLACE]]
        self._random.shuffle(lines)
        return "\n".join(lines)

    def _log(self) -> str:
        return f"{read_marks(self._records.log()).text}\nINFO {PLACE}\nINFO done in {self._random.randint(1, 99)} ms"
