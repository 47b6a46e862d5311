"""What the Avro schema of a topic promises, as expectations: read off types, units and the words of the docs.

A field that is not nullable is never null; an enum has its symbols; ``not negative`` is a lower bound of 0; unit ``1e-6`` lies between 0 and a
million; ``N hex digits`` is an expression. A test holds that each of these phrases is found in the schemas, so that none of them is dead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from governance.contracts import Expectation, arguments_text
from schemas import avro

_HEX: Final = re.compile(r"\b(\d+) hex digits")
_PPM_MAX: Final = 1_000_000
#: Fields of these classes are not looked at beyond whether they are there: no raw value enters a contract.
_UNSEEN: Final = ("personal", "secret")


def generated(topic: str, schema: str) -> tuple[Expectation, ...]:
    """Gives the expectations of a topic that follow from its schema ``schemas/avro/<schema>.avsc``."""
    fields = json.loads(avro.text(schema))["fields"]
    return tuple(expectation for field in fields for expectation in _of_field(topic, field))


def unseen_fields(schema: str) -> frozenset[str]:
    """Gives the fields whose values may be raw: only their presence is looked at."""
    return frozenset(field["name"] for field in json.loads(avro.text(schema))["fields"] if field.get("data_class") in _UNSEEN)


def _of_field(topic: str, field: dict[str, Any]) -> Iterator[Expectation]:
    name, doc = field["name"], field["doc"]
    is_nullable, kind = _type_of(field["type"])

    def expect(what: str, why: str, **arguments: Any) -> Expectation:
        return Expectation(topic, what, name, arguments_text(arguments), why=f"schema: {why}")

    if not is_nullable:
        yield expect("expect_column_values_to_not_be_null", "the field is not nullable")
    if field.get("data_class") in _UNSEEN:
        return
    if isinstance(kind, dict) and kind["type"] == "enum":
        yield expect("expect_column_values_to_be_in_set", "its symbols", value_set=kind["symbols"])
    if field.get("unit") == "1e-6" and "_sum_" not in name:
        yield expect("expect_column_values_to_be_between", "unit 1e-6", min_value=0, max_value=_PPM_MAX)
    elif "not negative" in doc:
        yield expect("expect_column_values_to_be_between", "not negative", min_value=0)
    found = _HEX.search(doc)
    if found is not None:
        yield expect("expect_column_values_to_match_regex", f"{found[1]} hex digits", regex=f"^[0-9a-f]{{{found[1]}}}$")


def _type_of(declared: Any) -> tuple[bool, Any]:
    """Gives whether null is allowed, and the type beside it."""
    if isinstance(declared, list):
        others = [one for one in declared if one != "null"]
        return "null" in declared, others[0]
    return False, declared
