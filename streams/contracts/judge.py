"""What windows of topics came to: results as records, breaches with what policy does about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from governance.contracts import OnBreach
from governance.drift import Drift, Profile, drifts, profile_of
from governance.policy import Policy
from streams.contracts.expect import Contracts, Finding
from streams.contracts.window import Coordinates, Window

#: The topic whose drift is watched.
DRIFTING: Final = "enriched_events"


@dataclass(frozen=True, slots=True)
class Result:
    """One record of topic contract_results.

    Attributes:
        record: Its fields.
        breach: What is done; None where it held.
        places: Coordinates of the records that broke it.
    """

    record: Mapping[str, Any]
    breach: OnBreach | None
    places: tuple[Coordinates, ...]


class Judge:
    """Turns windows into results. The same window under the same policy gives the same records, ids included.

    Args:
        policy: Holds the contracts.
        contracts: Runs them.
        reference: What drift is measured from; None measures none.
    """

    def __init__(self, policy: Policy, contracts: Contracts, reference: Profile | None = None) -> None:
        self._policy, self._contracts, self._reference = policy, contracts, reference

    def results(self, window: Window) -> list[Result]:
        """Gives a result for each expectation and each drift of a window."""
        found = [self._of_finding(window, finding) for finding in self._contracts.check(window)]
        if self._reference is not None and window.topic == DRIFTING:
            found += [self._of_drift(window, one) for one in drifts(profile_of(window.rows), self._reference, self._policy.contracts.drift)]
        return found

    def _of_finding(self, window: Window, finding: Finding) -> Result:
        expectation = finding.expectation
        told = {"expectation": expectation.name, "field": expectation.column, "why": expectation.why, "held": finding.held}
        return self._result(window, expectation.digest, told | {"unexpected": finding.unexpected, "size_ppm": None}, finding.places)

    def _of_drift(self, window: Window, drift: Drift) -> Result:
        why = f"at most {drift.bound_ppm} millionths from the reference"
        told = {"expectation": f"drift_of_{drift.what}", "field": drift.name, "why": why, "held": False, "unexpected": 0, "size_ppm": drift.size_ppm}
        return self._result(window, f"{drift.what}:{drift.name}", told, ())

    def _result(self, window: Window, what: str, told: dict[str, Any], places: tuple[Coordinates, ...]) -> Result:
        breach = None if told["held"] else self._policy.contracts.breach_of(window.topic)
        # Windows of one time that were cut are told apart by where they begin.
        part = [f"{partition}:{offset}" for partition, offset in sorted(window.first.items())] if window.is_cut else []
        named = "\0".join([window.topic, str(window.start_ms), str(window.end_ms), what, self._policy.digest, *part])
        record = {
            "result_uid": blake2b(named.encode(), digest_size=16).hexdigest(),
            "about": window.topic,
            "window_start": window.start_ms,
            "window_end": window.end_ms,
            "records": len(window.rows),
            **told,
            "action": None if breach is None else breach.value,
            "policy_id": self._policy.id,
            "policy_version": self._policy.version,
        }
        return Result(record, breach, places)
