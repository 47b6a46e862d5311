"""Names in sentences: the templates of presidio-evaluator, and sentences of our own."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from models.train.names.marked import UNSURE, NamedText, mark, read_marks
from models.train.names.pools import Names

_SLOT: Final = re.compile(r"\{\{?(\w+)\}?\}")
#: Templates of presidio-evaluator whose number ends so are kept for validation.
_VALIDATION_DIGITS: Final = frozenset({3, 7})

_SENTENCES: Final = """
Thank you, {first}. Could you please confirm your booking?
Hi {first}, thanks for getting back to me so quickly.
Hello, my name is {full} and I need help with my order.
I'm {full}, and I'd like to change my flight to {city}.
You are {full} living in {city}, {region}.
Your name is {full} and your zip code is 19122.
My user id is {user_id}, can you look it up?
Sure, my user ID is {user_id}.
I found the account of {full} ({user_id}). The order was sent to {street}, {city}.
The passenger is {full}, born on 1988-03-12.
Please add {full} and {full} to the reservation.
{full} joined {org} in 2019 and moved to {city} last year.
{last} said on Tuesday that {org} would open an office in {city}.
According to {full}, chief executive of {org}, sales in {country} rose by four percent.
{org} has agreed to buy {org} for $3.2 billion, people familiar with the matter said.
The president of {country} met {full} in {city} on Monday.
{full} was born in {city}, {country}, and studied at {org}.
Police in {city} arrested a man after an incident near {street}.
We ship from {city} to {country} within five days.
Can you book a table for {first} and me in {city} tonight?
What is the weather in {city} today?
Find me a cheap flight from {city} to {city} on May 20th.
I'm looking for a hotel in {city}, {country}, for next weekend.
Find movies directed by {full} and starring {full}.
Send an e-mail to {full} about the meeting in {city}.
Remind {first} to call Dr. {last} about the results.
Mr. {last} will be late; please let Mrs. {last} know.
Dear {first},
Dear Ms. {last}, thank you for your letter of 3 June.
Best regards, {full}
Kind regards,\\n{full}\\n{org}
Cheers, {first}
From: {full}\\nTo: {full}\\nSubject: Quarterly figures
From {full} to {first}: can you check the numbers for {org}?
{first}: are we still on for lunch?\\n{first}: yes, see you at noon.
{first} and {first} went to {city} with their friends from {org}.
The contract between {org} and {full} ends in December.
{full} works at {org} as a data engineer.
I spoke with {first} {last} from {org} yesterday.
The patient, {full}, was admitted to {org} on 12 April.
Dr. {full} prescribed 20 mg of the drug to {first}.
{last} v. {last} was decided in {city} in 1998.
{full} scored twice as {city} beat {city} three to one.
{org} is based in {city}, {region}.
The river flows through {city} into {country}.
People from {country} and {country} may enter without a visa.
Transfer 200 dollars from my account to {full}.
Who is {full}?
When did {full} move to {country}?
{first}'s laptop is broken and {first} needs a new one.
The team is made up of {first}, {first}, {last} and {last}.
Invite {full}, {full} and {full} to the review at 10:00.
The package for {full} was delivered to {street}, {city}, {country}.
I live at {street} in {city}.
My address is {street}, {city}, {region} 78750, {country}.
Ship it to {full}, {street}, {city}, {state_code} 94107.
The user {user_id} has two reservations.
Assigned to {user_id}; reviewer is {first}.
{full} <{email}> wrote:
Contact {first} at {email} or 555-0123.
{first} {last} ({org}) presented the results in {city}.
The study was led by {full} of {org} and published in March.
{org} announced that {full} will succeed {full} as chairman.
Our office in {city} is closed until Monday.
Tell me about the history of {city}.
How far is it from {city} to {city}?
As a customer of {org}, I would like to complain.
{full} signed the lease for the flat on {street}.
Please transfer the call to {first} in accounting.
My wife {first} and my son {first} are travelling with me.
I'm calling on behalf of my mother, {full}.
Note by {first}: customer asked for a refund, told to wait for {last}.
The seller is {org}, the buyer {full}.
{first} lost her passport in {city}.
It was {full} who wrote the letter, not {full}.
{full} - {org} - {city}
Meeting notes: {first} will draft the plan, {first} reviews it, {last} signs.
In {country}, {org} competes with {org}.
He flew from {city} via {city} to {region}.
""".strip().splitlines()

#: Sentences without a name, most with something that looks like one.
_NAMELESS: Final = """
I would like to cancel my order from May and get my money back.
The meeting moves from Monday to Thursday, same room.
Could you tell me which flights are available on April 3rd?
The Smart Thermostat works with the usual assistants.
I want to return the Mechanical Keyboard and the Desk Lamp.
Please confirm with yes before I proceed.
Your refund of $124.50 goes to the gift card within 5 to 7 business days.
The function get_user_details returns a JSON object or None.
Run the tests with make test and read the report.
The agent called search_direct_flight twice and then stopped.
Basic economy tickets cannot be changed, business tickets can.
I am sorry, but I cannot help with that request.
The will was read in August; the mark was grave and the bill was paid in full.
Summer is warm, autumn brings rain, and dawn comes late in winter.
A rose by any other name would smell as sweet.
Please pat the dog, hope for the best, and be frank with me.
The art of the deal is to know when to stop.
She may mark the page with a red pen, or grant him a wish.
Version 2.3 fixes the bug in the parser and removes the old API.
Error: connection refused while reading from the socket.
The order W2378156 contains a Water Bottle, black, 1000 ml.
What is the capital requirement for a small business loan?
Bring water, bread and olive oil; the cook will do the rest.
The customer prefers a window seat and has two checked bags.
Total price is 512 dollars including insurance.
Draw a red circle next to the blue square.
Compute the area of a triangle with base 10 and height 5.
Convert 45 degrees Celsius to Fahrenheit.
Play some jazz music in the living room at a low volume.
Set the alarm for seven in the morning on weekdays.
The key user_id is required, the key zip is optional.
Membership: gold. Insurance: no. Cabin: economy.
Is there anything else I can help you with today?
No, that is all, thank you very much for your help.
Python and Java are both supported; Go support is planned for June.
Let me know which of the two options you prefer.
Reservation K1NW8N has one passenger and no baggage.
The Kubernetes cluster runs three Redis nodes behind Nginx.
Docker images are built by Jenkins and pushed every night.
The senior engineer on call must restart the service.
""".strip().splitlines()


@cache
def presidio_templates(presidio_data: Path, part: str) -> tuple[str, ...]:
    """Gives the templates of one part, ``train`` or ``validation``; they share none."""
    lines = (presidio_data / "templates.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line.replace("\\n", "\n").replace("\\,", ",") for line in lines if line.strip()]
    return tuple(line for number, line in enumerate(lines) if (number % 10 in _VALIDATION_DIGITS) == (part == "validation"))


class Prose:
    """Makes sentences with marked names.

    Args:
        names: Where names come from.
        random: Where chance comes from.
        templates: Of presidio-evaluator.
        own: Whether sentences of our own are used too; they are part of training only.
    """

    def __init__(self, names: Names, random: Random, templates: tuple[str, ...], own: bool) -> None:
        self._names, self._random = names, random
        self._templates, self._own = templates, own

    def text(self) -> NamedText:
        """Gives a sentence, or a few."""
        count = self._random.choice((1, 1, 2, 3, 4)) if self._own else 1
        return read_marks(self._random.choice((" ", " ", "\n")).join(self._cased(self._sentence()) for _ in range(count)))

    def _sentence(self) -> str:
        if not self._own:
            return self.filled(self._random.choice(self._templates))
        chance = self._random.random()
        if chance < 0.18:
            return self._random.choice(_NAMELESS)
        return self.filled(self._random.choice(self._templates if chance < 0.42 else _SENTENCES).replace("\\n", "\n"))

    def _cased(self, marked: str) -> str:
        """Some people write without capitals; the encoder does not see case, its offsets do."""
        return re.sub(r"\|[^\]]*\]\]", lambda found: found[0].lower(), marked) if self._random.random() < 0.08 else marked

    def filled(self, template: str) -> str:
        """Gives a template with marked names, and with values that are no names, in its slots."""
        return _SLOT.sub(lambda found: self._value(found[1]), template)

    def _value(self, slot: str) -> str:
        names, random = self._names, self._random
        makers: dict[str, Callable[[], str]] = {
            "full": names.full,
            "first": names.first,
            "last": names.last,
            "org": names.organisation,
            "city": names.city,
            "country": names.country,
            "region": names.region,
            "street": names.street,
            "state_code": names.state_code,
            "user_id": lambda: names.user_id()[2],
            "email": lambda: names.email(*names.person()),
            "person": names.full,
            "name": names.full,
            "organization": names.organisation,
            "address": lambda: self._address(),
            "street_name": lambda: mark("LOCATION", re.sub(r"[\[\]|\d]|LOCATION", "", names.street()).strip()),
            "state_abbr": names.state_code,
            "building_number": lambda: mark(UNSURE, str(random.randint(1, 400))),
        }
        if slot in makers:
            return makers[slot]()
        if slot.startswith(("first_name", "last_name", "name_")):
            return names.last() if slot.startswith("last") else names.first() if slot.startswith("first") else names.full()
        if slot.startswith("prefix"):
            return random.choice(("Mr.", "Mrs.", "Ms.", "Dr."))
        if slot.startswith("nation"):
            return mark(UNSURE, random.choice(("French", "Turkish", "Kenyan", "Peruvian", "Dutch", "Korean")))
        plain = {
            "credit_card_number": f"{random.randint(4 * 10**15, 5 * 10**15)}",
            "phone_number": f"{random.randint(200, 999)}-555-{random.randint(1000, 9999)}",
            "age": str(random.randint(2, 99)),
            "year": str(random.randint(1950, 2026)),
            "iban": f"DE{random.randint(10**19, 10**20)}",
            "url": "https://example.org/a",
            "secondary_address": f"Apt. {random.randint(1, 400)}",
            "ip_address": f"10.0.{random.randint(0, 255)}.7",
            "ssn": "078-05-1120",
            "job": "accountant",
            "day_of_week": "Friday",
            "date_time": "2024-05-02 10:00",
            "date_of_birth": "1971-02-03",
            "us_driver_license": f"S{random.randint(10**6, 10**7)}",
        }
        return plain.get(slot, str(random.randint(10000, 99999)))

    def _address(self) -> str:
        names = self._names
        return f"{names.street()}{self._random.choice((', ', chr(10)))}{names.city()} {self._random.randint(10000, 99999)}, {names.country()}"
