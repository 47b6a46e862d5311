"""A simulated fleet of agents: seeded, realistic, and with exact books of what was sent.

Demo, tests and benchmarks use it. Its people, cards and addresses are invented by Faker; its attacks are the common ones.
"""

from streams.fleet.book import Book
from streams.fleet.corpora import CORPORA, Corpus, CorpusFacts, corpus
from streams.fleet.fleet import Faults, Fleet
from streams.fleet.record import Fate, FleetRecord

__all__ = ["CORPORA", "Book", "Corpus", "CorpusFacts", "Fate", "Faults", "Fleet", "FleetRecord", "corpus"]
