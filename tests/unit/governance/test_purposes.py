"""The section ``purposes``: what may be revealed for what, with every problem at its line."""

from __future__ import annotations

from importlib import resources

import pytest

from governance.parse import parse_policy
from governance.purposes import Purpose
from schemas.errors import ConfigError

DEFAULT = resources.files("governance").joinpath("policies/default.yaml").read_text(encoding="utf-8")


def test_a_policy_names_its_purposes_and_what_each_covers() -> None:
    section = "\npurposes:\n  support_case:\n    description: Help.\n  billing:\n    description: Bill.\n    entities: [CREDIT_CARD]\n"
    support, billing = parse_policy(DEFAULT + section).purposes
    assert (support, billing) == (Purpose("support_case", "Help."), Purpose("billing", "Bill.", ("CREDIT_CARD",)))
    assert support.covers("PERSON")
    assert billing.covers("CREDIT_CARD")
    assert not billing.covers("PERSON")


def test_without_the_section_nothing_may_be_revealed() -> None:
    assert parse_policy(DEFAULT).purposes == ()


def test_every_problem_of_the_section_is_told() -> None:
    section = "\npurposes:\n  Support: {description: Help.}\n  billing: {entities: [CREDIT_CART], for: x}\n"
    with pytest.raises(ConfigError) as told:
        parse_policy(DEFAULT + section, "p")
    text = "\n".join(told.value.problems)
    for part in ("purposes.Support: a purpose is named in lower case", "purposes.billing.description", "purposes.billing.for", "CREDIT_CART"):
        assert part in text


def test_a_whole_field_cannot_be_sealed() -> None:
    with pytest.raises(ConfigError, match=r"handling.personal: must be one of drop, mask, hash, keep"):
        parse_policy(DEFAULT.replace("  personal: mask\n", "  personal: tokenise\n"))
