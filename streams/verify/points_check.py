"""The vector collection against the events that must have a point there. Points are looked for by id; vectors and payloads are not compared."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final

from sinks.vectors import VectorBackend
from streams.verify.findings import Findings, Kind
from streams.verify.plain.event import Place
from streams.verify.plain.points import point_id
from streams.verify.published import Published

_PART: Final = 1_000
_DEADLINE_S: Final = 30.0


def check_points(
    backend: VectorBackend,
    collection: str,
    published: Published,
    is_settled: Callable[[Place], bool],
    erased: Set[str],
    is_whole: bool,
    findings: Findings,
) -> dict[str, int]:
    """Looks for every point; gives how many there must be.

    Args:
        is_settled: Tells whether a record's outputs must be there.
        erased: Ids of events of erased persons, whose points are gone on purpose.
        is_whole: Whether all events that the collection can hold were read: then more points than events are told too.

    Raises:
        RetryableError: The store is away, or another process holds it.
    """
    rows = {
        point_id(row.values["event_uid"]): (place, row)
        for place, its in published.events.items()
        for row in its[:1]
        if row.values["chosen"] and row.values["event_uid"] not in erased
    }
    store = backend.open(_DEADLINE_S)
    try:
        ids = list(rows)
        known = frozenset[str]().union(*(store.known(ids[at : at + _PART], _DEADLINE_S) for at in range(0, len(ids), _PART)))
        more = store.count(_DEADLINE_S) - len(known) - published.released
    finally:
        store.close()
    for one, (place, row) in rows.items():
        if one not in known and is_settled(place):
            findings.add(Kind.LOST, collection, f"the point of event {row.values['event_uid']} is not there", row.place, place)
    if is_whole and more > 0:
        findings.add(Kind.UNEXPECTED, collection, f"{more} points more than events that have one")
    return {"points": len(known)}
