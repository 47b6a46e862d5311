"""The names themselves: people, places and organisations of many countries, and the ids that are made of names."""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from faker import Faker

from models.train.names.marked import UNSURE, mark


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


#: Countries whose names Faker knows in Latin script, and a few in their own.
_LOCALES: Final = (
    "en_US",
    "en_GB",
    "en_IN",
    "en_NZ",
    "de_DE",
    "fr_FR",
    "es_ES",
    "es_MX",
    "it_IT",
    "pt_BR",
    "nl_NL",
    "pl_PL",
    "tr_TR",
    "sv_SE",
    "fi_FI",
    "da_DK",
    "no_NO",
    "cs_CZ",
    "hu_HU",
    "ro_RO",
    "hr_HR",
    "id_ID",
    "vi_VN",
    "et_EE",
    "sl_SI",
    "sk_SK",
    "en_KE",
    "ga_IE",
    "tl_PH",
    "zh_CN",
    "ja_JP",
    "ru_RU",
)
_NATIVE: Final = frozenset({"zh_CN", "ja_JP", "ru_RU"})
_NAMES_OF_LOCALE: Final = 160
#: Given and family names that Faker has only in other scripts.
_MORE_GIVEN: Final = _listed(
    "Yusuf|Fatima|Omar|Aisha|Mohamed|Layla|Hassan|Zainab|Ibrahim|Noor|Wei|Jing|Xin|Hao|Mei|Lin|Yuki|Haruto|Sakura|Kenji"
    "|Min-jun|Seo-yeon|Ji-woo|Priya|Arjun|Ananya|Rohan|Deepika|Vikram|Kavya|Chidi|Amara|Ngozi|Kwame|Abena|Thabo|Zanele|Olena"
    "|Dmytro|Ivana|Nikolai|Svetlana|Giorgos|Eleni|Ariel|Noa|Tariq|Samira|Leila"
)
_MORE_FAMILY: Final = _listed(
    "Ahmed|Khan|Hussain|Ali|Hassan|Abdi|Li|Wang|Zhang|Chen|Liu|Yang|Huang|Zhao|Wu|Kim|Park|Choi|Jung|Nguyen|Tran|Le|Pham"
    "|Patel|Sharma|Singh|Gupta|Kumar|Iyer|Nair|Okafor|Adeyemi|Mensah|Nkosi|Dlamini|Sato|Suzuki|Tanaka|Watanabe|Rossi|Silva"
    "|Santos|Kovacs|Ivanov|Petrov|Shevchenko|Papadopoulos|Cohen|Levi|Haddad"
)
_CITIES: Final = _listed(
    "New York|Los Angeles|Chicago|Houston|Phoenix|San Diego|Dallas|San Jose|Jacksonville|Columbus|Charlotte|Indianapolis"
    "|Washington|Boston|Portland|Las Vegas|Memphis|Atlanta|Miami|Oakland|Minneapolis|Tampa|Orlando|Newark|London|Paris|Berlin"
    "|Madrid|Rome|Vienna|Prague|Warsaw|Budapest|Lisbon|Dublin|Amsterdam|Brussels|Copenhagen|Oslo|Stockholm|Helsinki|Athens"
    "|Istanbul|Moscow|Kyiv|Cairo|Lagos|Nairobi|Accra|Cape Town|Johannesburg|Dubai|Riyadh|Tehran|Mumbai|Delhi|Bangalore"
    "|Karachi|Dhaka|Bangkok|Hanoi|Singapore|Jakarta|Manila|Beijing|Shanghai|Shenzhen|Hong Kong|Taipei|Seoul|Tokyo|Osaka|Kyoto"
    "|Sydney|Melbourne|Brisbane|Auckland|Toronto|Vancouver|Montreal|Mexico City|Bogotá|Lima|Santiago|Buenos Aires|São Paulo"
    "|Rio de Janeiro|Zurich|Geneva|Munich|Hamburg|Cologne|Milan|Naples|Barcelona|Valencia|Lyon|Marseille|Manchester|Edinburgh"
    "|Glasgow|Bristol|Leeds|Salt Lake City|Kansas City|Baton Rouge"
)
COUNTRIES: Final = _listed(
    "USA|United States|UK|United Kingdom|Germany|France|Spain|Italy|Canada|Mexico|Brazil|Argentina|India|China|Japan"
    "|South Korea|Australia|New Zealand|Nigeria|Kenya|Ghana|Egypt|Morocco|South Africa|Turkey|Poland|Ukraine|Sweden|Norway"
    "|Finland|Denmark|Netherlands|Belgium|Austria|Switzerland|Portugal|Greece|Ireland|Vietnam|Thailand|Indonesia|Philippines"
    "|Singapore|Israel|Saudi Arabia|Pakistan|Bangladesh|Peru|Chile|Colombia"
)
_STATES: Final = _listed(
    "California|Texas|Florida|Ohio|Georgia|Illinois|Colorado|Nevada|Oregon|Arizona|Virginia|Washington|New Jersey"
    "|Massachusetts|Bavaria|Ontario|Quebec|New South Wales|Catalonia|Tuscany|Provence|Scotland|Wales|Saxony|Queensland|Punjab"
    "|Kerala|Maharashtra|Hokkaido|Andalusia"
)
_SUFFIXES: Final = (
    "Inc.",
    "LLC",
    "Ltd",
    "GmbH",
    "Corp",
    "& Co.",
    "Group",
    "Holdings",
    "Systems",
    "Labs",
    "Bank",
    "Foundation",
    "University",
    "Hospital",
    "AG",
    "S.A.",
)
_STREET_ENDS: Final = ("Street", "Road", "Avenue", "Lane", "Drive", "Boulevard", "Way", "Court", "Place", "Terrace")
_STREET_STEMS: Final = _listed(
    "Maple|Oak|Cedar|Pine|Elm|Hill|Lake|Park|Mill|Church|High|Station|Meadow|Chestnut|Walnut|Spruce|Lincoln|Jefferson|Kings|Queens|Harbor|Bridge"
)


@dataclass(frozen=True, slots=True)
class Pools:
    """Names to draw from."""

    people: tuple[tuple[str, str], ...]
    natives: tuple[str, ...]
    cities: tuple[str, ...]
    organisations: tuple[str, ...]
    streets: tuple[str, ...]


@cache
def pools(presidio_data: Path, part: str) -> Pools:
    """Gives the names of one part of the sources: ``train`` and ``validation`` share no person, company or street.

    Args:
        presidio_data: The folder ``raw_data`` of presidio-evaluator.
        part: ``train`` or ``validation``.
    """
    wanted = {"train": (0, 1, 2, 3), "validation": (4,)}[part]

    def mine(names: list[str]) -> list[str]:
        return [name for number, name in enumerate(sorted(set(names))) if number % 5 in wanted]

    given, family, natives = list(_MORE_GIVEN), list(_MORE_FAMILY), []
    pairs: list[tuple[str, str]] = []
    for locale in _LOCALES:
        fake = Faker(locale)
        fake.seed_instance(17)
        firsts, lasts = [[str(make()) for _ in range(_NAMES_OF_LOCALE)] for make in (fake.first_name, fake.last_name)]
        if locale in _NATIVE:
            natives += [f"{last}{'' if locale != 'ru_RU' else ' '}{first}" for first, last in zip(firsts, lasts, strict=True)]
        else:
            given, family = given + firsts, family + lasts
            pairs += zip(firsts, lasts, strict=True)
    cities, streets = list(_CITIES), []
    with (presidio_data / "FakeNameGenerator.com_3000.csv").open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            pairs.append((row["GivenName"].strip(), row["Surname"].strip()))
            cities.append((row["City"].title() if row["City"].isupper() else row["City"]).strip())
            streets.append(re.sub(r"\s+", " ", re.sub(r"\d+\S*", "", row["StreetAddress"])).strip(" ,"))
    with (presidio_data / "companies_and_organizations.csv").open(encoding="utf-8", newline="") as file:
        organisations = [row["organization"].strip() for row in csv.DictReader(file)]
    random = Random(5)
    mixed = list(zip(random.sample(given, len(given)), random.choices(family, k=len(given)), strict=True))
    people = [tuple(name.split("\t")) for name in mine([f"{first}\t{last}" for first, last in pairs + mixed])]
    return Pools(
        tuple((first, last) for first, last in people),
        tuple(mine(natives)),
        tuple(cities) if part == "train" else tuple(mine(cities)),
        tuple(name for name in mine(organisations) if 2 < len(name) < 45),
        tuple(street for street in mine(streets) if len(street) > 4),
    )


def ascii_of(name: str) -> str:
    """Gives a name as ids and addresses have it: ASCII letters, small."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]", "", plain.lower())


class Names:
    """Draws marked names.

    Args:
        source: The names to draw from.
        random: Where chance comes from: the same seed draws the same names.
    """

    def __init__(self, source: Pools, random: Random) -> None:
        self._source, self._random = source, random

    def person(self) -> tuple[str, str]:
        """Gives a given and a family name, not marked."""
        return self._random.choice(self._source.people)

    def full(self) -> str:
        """Gives a whole name as texts have it: mostly given and family name, at times with an initial, turned round, or in another script."""
        first, last = self.person()
        chance = self._random.random()
        if chance < 0.05:
            return mark("PERSON", self._random.choice(self._source.natives))
        if chance < 0.12:
            return mark("PERSON", f"{first} {self._random.choice('ABCDEFGHJKLMNPRSTW')}. {last}")
        if chance < 0.17:
            return mark("PERSON", f"{first} {self.person()[0]} {last}")
        if chance < 0.20:
            return mark("PERSON", f"{last}, {first}")
        if chance < 0.23:
            return mark("PERSON", f"{first[:1]}. {last}")
        return mark("PERSON", f"{first} {last}")

    def first(self) -> str:
        """Gives a given name."""
        return mark("PERSON", self.person()[0])

    def last(self) -> str:
        """Gives a family name."""
        return mark("PERSON", self.person()[1])

    def city(self) -> str:
        """Gives a town."""
        chance = self._random.random()
        return mark("LOCATION", self._random.choice(_CITIES if chance < 0.35 else self._source.cities))

    def country(self) -> str:
        """Gives a country."""
        return mark("LOCATION", self._random.choice(COUNTRIES))

    def region(self) -> str:
        """Gives a state or a region."""
        return mark("LOCATION", self._random.choice(_STATES))

    def place(self) -> str:
        """Gives a town, a region or a country."""
        chance = self._random.random()
        return self.city() if chance < 0.6 else self.country() if chance < 0.85 else self.region()

    def street(self) -> str:
        """Gives the first line of an address, number included: where a person lives is one place."""
        number, chance = self._random.randint(1, 1999), self._random.random()
        if chance < 0.4:
            return mark("LOCATION", f"{number} {self._random.choice(_STREET_STEMS)} {self._random.choice(_STREET_ENDS)}")
        street = self._random.choice(self._source.streets)
        return mark("LOCATION", f"{number} {street}" if chance < 0.8 else f"{street} {number}")

    def state_code(self) -> str:
        """Gives two letters, which name a place here and nothing elsewhere: left out."""
        return mark(UNSURE, self._random.choice(["CA", "TX", "NY", "FL", "WA", "CO", "NV", "OR", "AZ", "VA", "NJ", "MA", "OH", "GA", "IL"]))

    def organisation(self) -> str:
        """Gives a company, an authority, a school."""
        chance = self._random.random()
        if chance < 0.25:
            return mark("ORGANIZATION", f"{self.person()[1]} {self._random.choice(_SUFFIXES)}")
        if chance < 0.32:
            return mark("ORGANIZATION", f"{self.person()[1]}, {self.person()[1]} and {self.person()[1]}")
        return mark("ORGANIZATION", self._random.choice(self._source.organisations))

    def user_id(self) -> tuple[str, str, str]:
        """Gives (given name, family name, marked id): ``mia_li_3668``, whose name part is a person."""
        first, last = self.person()
        short, long = ascii_of(first) or "ana", ascii_of(last) or "cruz"
        number = self._random.randint(1, 9999)
        forms = (
            mark("PERSON", f"{short}_{long}") + f"_{number}",
            mark("PERSON", f"{short}_{long}") + f"_{number}",
            mark("PERSON", f"{short}_{long}"),
            mark("PERSON", f"{short}.{long}"),
            mark("PERSON", f"{short}-{long}") + f"-{number}",
            mark(UNSURE, f"{short[0]}{long}") + f"{number % 100}",
        )
        return first, last, self._random.choice(forms)

    def email(self, first: str, last: str) -> str:
        """Gives an address; the pattern recognisers find it whole, so its name part is left out here."""
        short, long = ascii_of(first) or "ana", ascii_of(last) or "cruz"
        number = self._random.choice(("", str(self._random.randint(1, 9999))))
        local = self._random.choice((f"{short}.{long}{number}", f"{short}{long}{number}", f"{short[0]}{long}{number}", f"{short}_{long}"))
        host = self._random.choice(("example.com", "example.org", "mail.example.net", "gmail.com", "outlook.com", f"{long}.io"))
        return mark(UNSURE, f"{local}@{host}")
