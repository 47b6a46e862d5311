"""Keeps Python's cycle collector from walking what lives as long as the process."""

from __future__ import annotations

import gc
from typing import Final

#: Allocations before a young collection, young collections before a middle one, middle ones before a full one.
_COLLECT_EVERY: Final = (100_000, 20, 100)


def rest_the_collector() -> None:
    """Leaves out what exists now, and collects seldom.

    Recognisers, compiled patterns and the masker's memory are hundreds of thousands of objects and hold no garbage; walking them again and again took
    a fifth of the pipeline's CPU time. Batches are freed by reference counts; cycles that errors leave behind are still collected.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_EVERY)
