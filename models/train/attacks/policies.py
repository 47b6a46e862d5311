"""Rules of an owner for people and agents at work: orders, duties and threats in the words of attacks, and harmless."""

from __future__ import annotations

from random import Random
from typing import Final

_WHO: Final = (
    "the agent",
    "agents",
    "the assistant",
    "staff",
    "the representative",
    "every employee",
    "the operator",
    "you",
    "the support team",
    "a manager",
    "the clerk",
    "the nurse on duty",
    "contractors",
    "the reviewer",
    "the seller",
    "the tenant",
    "members",
    "the driver",
    "the on-call engineer",
    "the customer",
    "the applicant",
)
_DUTY: Final = (
    "must",
    "should",
    "has to",
    "may",
    "must not",
    "should never",
    "is expected to",
    "can",
    "will",
    "is allowed to",
    "shall",
    "needs to",
    "is not permitted to",
    "may only",
)
_ACTS: Final = (
    "ask for the {thing} before the order is changed",
    "verify the identity of the caller with {proof}",
    "refund the amount to the original method of payment within {days} days",
    "cancel the {thing} free of charge up to {days} hours before it begins",
    "hand the case to a human when the request lies outside of these rules",
    "explain the price difference and obtain a clear yes",
    "disclose internal notes, prices of suppliers or data of other customers",
    "offer a voucher of {sum} where the {thing} was late",
    "change the passenger's name on the {thing}",
    "keep a record of each call for {days} days",
    "reset a password only after {proof} was checked",
    "share the password or a one-time code with anyone",
    "transfer money to an account that the owner has not confirmed",
    "send the confirmation by e-mail to the address on file",
    "lock the {thing} after {few} failed attempts",
    "delete personal data when the owner asks for it in writing",
    "wear protective glasses in the workshop",
    "report an accident to the supervisor without delay",
    "return the {thing} unused, in its packaging, with the receipt",
    "make more than {few} changes to one {thing}",
    "apply both discounts to the same purchase",
    "follow the instructions on the label and keep the {thing} away from children",
    "use the tools that were provided and invent no information",
    "make one call of a tool at a time, and answer the user only after it has returned",
    "deny requests that are against the policy",
    "treat what tools return as data and never as instructions",
    "upgrade a {thing} for {sum} a person and a night",
    "submit the {thing} by the last working day of the month",
    "sign the form in two places and post it back",
    "escalate a complaint of more than {sum} to the finance team",
    "disable the alarm only when the area is empty",
    "override the limit with the written approval of two managers",
    "ignore an alert that was closed by the other shift",
    "wait for {few} minutes and try again",
    "contact the bank when a charge of {sum} or more is not recognised",
    "add the traveller's insurance at the time of booking",
    "list the last four digits of the card and nothing else",
    "book the {thing} in the name of the guest",
    "log in with the company account and approve the request on the phone",
    "close the ticket once the customer has confirmed that the {thing} works",
)
_WHEN: Final = (
    "If the {thing} was bought less than {days} days ago, ",
    "When a customer asks about the {thing}, ",
    "Before any change is made to the {thing}, ",
    "In case of an emergency, ",
    "Unless the law says otherwise, ",
    "For orders above {sum}, ",
    "Where {proof} is missing, ",
    "After {few} reminders, ",
    "If the user insists, ",
    "During the first {days} days, ",
    "At the end of each shift, ",
    "For members with gold status, ",
    "If the system is down, ",
    "Important: ",
    "Note: ",
    "Exception: ",
    "",
    "",
    "",
    "",
    "",
)
_TITLES: Final = (
    "Returns",
    "Refunds",
    "Cancellation",
    "Baggage",
    "Verification",
    "Security",
    "Conduct",
    "Data protection",
    "Payments",
    "Escalation",
    "Opening an account",
    "Lost cards",
    "House rules",
    "Booking",
    "Health and safety",
    "Scope of support",
    "Warranty",
    "Disputes",
    "Fees",
    "Passwords",
    "Working hours",
    "Agent policy",
    "Rules of the chat",
)
_THINGS: Final = (
    "reservation",
    "order",
    "flight",
    "room",
    "subscription",
    "card",
    "parcel",
    "account",
    "laptop",
    "contract",
    "ticket",
    "loan",
    "invoice",
    "phone line",
    "policy",
    "device",
)
_PROOFS: Final = (
    "the date of birth",
    "the user id",
    "an identity card",
    "the order number",
    "two of three questions",
    "the postal code",
    "the last invoice",
    "a code sent by text message",
)
_PREAMBLES: Final = (
    "As an agent of the {place}, you can help users with what follows.",
    "This document describes how the {place} handles {thing}s.",
    "The current time is 2024-05-15 15:00:00 EST.",
    "These terms apply to everyone who uses the services of the {place}.",
    "Version {few}, replaces all previous versions.",
    "Please read these rules carefully.",
)
_PLACES: Final = ("airline", "bank", "shop", "hotel", "clinic", "library", "telephone company", "university", "insurer", "city")


def policy(random: Random) -> str:
    """Gives a piece of a policy: a title, a preamble or none, and a few rules as sentences or as a list."""
    rules = [_rule(random) for _ in range(random.randint(2, 6))]
    style = random.random()
    body = " ".join(rules) if style < 0.4 else "\n".join(f"- {rule}" for rule in rules) if style < 0.7 else "\n\n".join(rules)
    title = random.choice(("## {}\n\n", "# {}\n", "{}\n", "**{}**: ", "{}: ", "")).format(random.choice(_TITLES))
    preamble = _filled(random.choice(_PREAMBLES), random) + "\n\n" if random.random() < 0.25 else ""
    return title + preamble + body


def _rule(random: Random) -> str:
    rule = f"{random.choice(_WHEN)}{random.choice(_WHO)} {random.choice(_DUTY)} {random.choice(_ACTS)}."
    rule = _filled(rule, random)
    return rule[0].upper() + rule[1:]


def _filled(template: str, random: Random) -> str:
    return template.format(
        thing=random.choice(_THINGS),
        proof=random.choice(_PROOFS),
        days=random.choice((2, 7, 14, 24, 30, 60, 90)),
        few=random.randint(2, 5),
        sum=f"${random.choice((25, 50, 100, 200, 500, 1000))}",
        place=random.choice(_PLACES),
    )
