"""The step ``mask``: after it no column of an event holds a raw personal value.

Content columns (JSON text) are masked leaf by leaf, identifiers and names in which personal data is found become keyed hashes, the user id is
handled as the policy says. Rules that need the unmasked value see the raw leaves here, and only their ids leave. A record that cannot be
masked with certainty is dead-lettered, never passed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import polars as pl

from governance.data_classes import Handling
from governance.key_ring import NO_KEYS, Key, KeyRing, KeyUse
from governance.pii import NAME_ENTITIES, PERSON_ID
from governance.policy import Policy
from operators.contract import NO_DEAD, Outcome, dead_rows
from operators.guardrails.documents import DocumentRules
from operators.guardrails.raw_findings import RawFindings
from operators.guardrails.rules import RawRules
from operators.guardrails.topics import TopicRules
from operators.multipattern import CompiledStore
from operators.pii.allow import AllowList
from operators.pii.content_hash import ContentHash
from operators.pii.event_values import EventValues
from operators.pii.hashes import UserHash, hash_kid
from operators.pii.leaves import LeafReader
from operators.pii.looks import NO_LOOKS
from operators.pii.mask import LeafHit, MaskedTexts, MaskSpec, TextMasker, leaf_reader
from operators.pii.names import NO_NAMES, NONE_FOUND, Names, decoded
from operators.pii.replace import SEALING, Action, Actions
from operators.pii.seal import Sealer
from operators.pii.spec import ExtraRecogniser, PatternSpec, RecogniserSpec
from operators.pii.tokens import Tokeniser
from schemas.coordinates import event_uid
from schemas.errors import MaskingFailed, RecordError
from schemas.events import CONTENT, IDENTIFIERS, MASKED, MASKED_SPAN, NAMED, NAMES, SCORED

#: Findings of one text that are listed, and findings of an event after which no further text's are; all are counted.
_LISTED_COUNT_MAX: Final = 256
#: The last entry of a list that does not hold them all.
_TRUNCATED: Final = LeafHit("TRUNCATED", "", 0.0)


def mask_spec(policy: Policy, hash_key: bytes, ring: KeyRing = NO_KEYS) -> MaskSpec:
    """Gives how texts are masked under a policy.

    Raises:
        ConfigError: The policy encrypts or tokenises, and the ring has no key for it.
    """
    pii = policy.pii
    actions = {entity: Action(handling.value) for entity, handling in pii.entities}
    sealer = None if SEALING.isdisjoint(actions.values()) else Sealer(ring)
    return MaskSpec(
        actions=Actions(
            key=hash_key,
            by_entity=actions,
            default=Action.MASK,
            kid=hash_kid(ring, hash_key),
            sealer=sealer,
            replacements={replacement.entity: replacement for replacement in pii.replacements},
            allowed=AllowList(pii.allowed),
        ),
        recogniser=RecogniserSpec(
            extra=tuple(
                ExtraRecogniser(
                    r.entity, r.name, tuple(PatternSpec(p.name, p.regex, p.score) for p in r.patterns), r.context, r.deny_list, r.deny_list_score
                )
                for r in pii.recognisers
            ),
            locales=pii.locales,
            entities=frozenset(entity for entity, handling in pii.entities if handling is not Handling.KEEP),
            score_threshold=pii.score_threshold,
            secret_rules=True,
        ),
        keys={key.name: key.entity for key in pii.key_names},
        id_entities=frozenset(pii.identifier_entities),
        names=frozenset(
            entity
            for entity in (*NAME_ENTITIES, PERSON_ID, *(split.entity for split in pii.split_values))
            if pii.handling_of(entity) is not Handling.KEEP
        ),
    )


def examined_leaves(policy: Policy) -> LeafReader:
    """Gives what tells the leaves that ``mask`` examines under a policy."""
    # Nothing is hashed or sealed by it: which keys it is given does not matter.
    return leaf_reader(mask_spec(policy, bytes(32), KeyRing((Key(KeyUse.SEAL, "aaaaaa", bytes(32)),))))


class Mask:
    """Masks events; holds scratch memory, so one thread at a time.

    Args:
        policy: What is personal, what becomes of it, and the rules that need raw values.
        hash_key: Key of the hashes that stand for identifiers; at least 16 bytes.
        store: Where compiled databases are kept; None compiles them.
        ring: Keys for what policy encrypts or tokenises.

    Raises:
        ConfigError: The policy's expressions, or an installed library, are not what the recogniser can work with, or a key is missing.
    """

    name = "mask"

    def __init__(self, policy: Policy, hash_key: bytes, store: CompiledStore | None = None, ring: KeyRing = NO_KEYS) -> None:
        rules = RawRules(policy, store)
        self._masker = TextMasker(mask_spec(policy, hash_key, ring), rules, rules.surely_quiet, store)
        self._tokeniser = Tokeniser(Sealer(ring)) if policy.pii.tokenises else None
        self._findings = RawFindings(policy, rules)
        self._documents = DocumentRules(policy)
        self._topics = TopicRules(policy)
        self._content = ContentHash(hash_key)
        self._user_id = policy.pii.user_id
        self._values = EventValues(policy.pii, examined_leaves(policy))
        self._user_hash = UserHash(hash_key, hash_kid(ring, hash_key))

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Masks one batch; rows that cannot be masked are dead with the code of what failed."""
        height = batch.height
        # One call for all columns: a leaf that stands in several is looked at once. Most columns of most rows are null.
        held = [batch[column].is_not_null().arg_true() for column in CONTENT]
        texts = [text for column in CONTENT for text in batch[column].drop_nulls().to_list()]
        places = [(column, row) for column, rows in zip(CONTENT, held, strict=True) for row in rows.to_list()]
        names, failures = _found_names(batch)
        of_documents = [*self._documents(batch), *self._topics(batch)]
        given = self._values.found(batch)
        for row, of_row in given.names.items():
            told = names.setdefault(row, {})
            told |= {column: (*told.get(column, NO_NAMES), *spans) for column, spans in of_row.items()}
        hashes = self._content.column(batch)
        named = [names.get(row, {}).get(column, NO_NAMES) for column, row in places] if names else None
        looks = [given.looks.get(row, {}).get(column, NO_LOOKS) for column, row in places] if given.looks else None
        masked = self._masker.mask_json(texts, named, looks, given.documents)
        failures |= {places[at][1]: error for at, error in masked.failures.items()}
        columns = _columns(batch, held, masked)
        columns += [hashes, *(_empty(name, dtype, height) for name, dtype in SCORED.items() if name not in batch.columns)]
        batch = batch.drop(NAMED, strict=False)
        batch = batch.with_columns(columns + _found(masked, places, height))
        if self._tokeniser is not None:
            batch = self._tokeniser.tokenised(batch, self._hashed(batch["user_id"]).to_list())
        # After tokens are in, for evidence names places in what goes on.
        after = {column: batch[column].to_list() for column in CONTENT} if any(masked.rules) else {}
        going_on = [after[column][row] for column, row in places] if after else masked.values
        batch = batch.with_columns(self._findings(batch["kind"], places, texts, going_on, masked.rules, of_documents))
        batch = self._with_masked_ids(batch, failures)
        rejected = NO_DEAD
        if failures:
            batch, rejected = _without(batch, failures)
        uids = [event_uid(kind, agent, event) for kind, agent, event in batch.select("kind", "agent_id", "event_id").iter_rows()]
        counts = Counter[str]()
        for of_text in masked.counts:
            if of_text:
                counts.update(of_text)
        facts = {("masked_entities", entity): count for entity, count in sorted(counts.items())}
        recognisers = Counter(hit.recogniser for hits in masked.hits for hit in hits)
        facts |= {("masked_recognisers", name): count for name, count in sorted(recognisers.items())}
        return Outcome(batch.with_columns(pl.Series("event_uid", uids, dtype=pl.String)), dead=rejected, facts=facts)

    def _with_masked_ids(self, batch: pl.DataFrame, failures: dict[int, RecordError]) -> pl.DataFrame:
        """Replaces identifiers that hold personal data and the user id; adds rows whose identifiers could not be examined to the failures."""
        named = [*IDENTIFIERS, *NAMES]
        names, unsure = self._names(pl.concat([batch[column] for column in named]).drop_nulls().unique().to_list())
        if unsure:
            error = MaskingFailed("an identifier could not be examined in time; shorten it")
            hopeless = pl.any_horizontal(pl.col(column).is_in(unsure) for column in named)
            failures.update(dict.fromkeys(batch.select(hopeless.arg_true()).to_series().to_list(), error))
        masked = batch.with_columns(self._user_ids(batch["user_id"]))
        return masked.with_columns(pl.col(column).replace(names) for column in named) if names else masked

    def _names(self, distinct: list[str]) -> tuple[dict[str, str], list[str]]:
        """Gives the hash of each identifier that must not be shown, and the identifiers that could not be examined."""
        try:
            return self._changed(distinct), []
        except RecordError:
            names: dict[str, str] = {}
            unsure = []
            for raw in distinct:
                try:
                    names |= self._changed([raw])
                except RecordError:
                    unsure.append(raw)
            return names, unsure

    def _changed(self, distinct: list[str]) -> dict[str, str]:
        return {raw: name for raw, name in zip(distinct, self._masker.mask_ids(distinct), strict=True) if name is not None and name != raw}

    def _user_ids(self, raw: pl.Series) -> pl.Series:
        if self._user_id is Handling.KEEP:
            return raw
        if self._user_id is Handling.DROP:
            return _empty(raw.name, pl.String(), len(raw))
        return self._hashed(raw)

    def _hashed(self, raw: pl.Series) -> pl.Series:
        distinct = raw.drop_nulls().unique().to_list()
        hashes = [self._user_hash.of(user) for user in distinct]
        return raw.replace_strict(distinct, hashes, default=None, return_dtype=pl.String)


def _empty(name: str, dtype: pl.DataType, height: int) -> pl.Series:
    return pl.Series(name, [None], dtype=dtype).new_from_index(0, height)


def _found_names(batch: pl.DataFrame) -> tuple[dict[int, dict[str, Names]], dict[int, RecordError]]:
    """Gives the names that a model found, by row and content column, and the rows of which it cannot be told."""
    found: dict[int, dict[str, Names]] = {}
    failures: dict[int, RecordError] = {}
    for column in set(NAMED).intersection(batch.columns):
        told = batch[column]
        for row in ((told != NONE_FOUND).fill_null(False)).arg_true().to_list():
            try:
                found[row] = decoded(told[row])
            except RecordError as error:
                failures[row] = error
    return found, failures


def _columns(batch: pl.DataFrame, held: list[pl.Series], masked: MaskedTexts) -> list[pl.Series]:
    """Gives the content columns with the masked texts in their rows."""
    columns = []
    start = 0
    for column, rows in zip(CONTENT, held, strict=True):
        texts = pl.Series(column, masked.values[start : start + len(rows)], dtype=pl.String)
        start += len(rows)
        columns.append(texts if len(rows) == batch.height else batch[column].scatter(rows, texts))
    return columns


def _found(masked: MaskedTexts, texts: list[tuple[str, int]], height: int) -> list[pl.Series]:
    """Gives the columns ``masked_spans`` and ``masked_count``."""
    spans: list[LeafHit] = []
    columns: list[str] = []
    # Equal texts share one result, so their spans are listed once and pointed at.
    listed: dict[tuple[str, int], range] = {}
    places: dict[int, list[int]] = {}
    counts = [0] * height
    for at, hits in enumerate(masked.hits):
        if not hits:
            continue
        column, row = texts[at]
        of = listed.get((column, id(hits)))
        if of is None:
            of = listed[column, id(hits)] = range(len(spans), len(spans) + min(len(hits), _LISTED_COUNT_MAX))
            spans += hits[:_LISTED_COUNT_MAX]
            columns += [column] * len(of)
        if counts[row] < _LISTED_COUNT_MAX:
            places.setdefault(row, []).extend(of)
        counts[row] += len(hits)
    for row in places:
        if counts[row] > _LISTED_COUNT_MAX:
            places[row].append(len(spans))
    return [
        _lists([*spans, _TRUNCATED], [*columns, ""], places, height),
        pl.Series("masked_count", counts, dtype=pl.Int64),
        _empty("sealed", MASKED["sealed"], height),
    ]


def _lists(hits: list[LeafHit], columns: list[str], places: Mapping[int, list[int]], height: int) -> pl.Series:
    """Gives the column of the lists of hits (each with its column) to which the rows point; null where a row points at none."""
    name = "masked_spans"
    if not places:
        return _empty(name, MASKED[name], height)
    spans = pl.DataFrame(
        {
            "entity": [hit.entity for hit in hits],
            "column": columns,
            "path": [hit.path for hit in hits],
            "score": [hit.score for hit in hits],
            "recogniser": [hit.recogniser for hit in hits],
        },
        schema=MASKED_SPAN.to_schema(),
    ).with_columns(pl.col("score").round(4))
    pointed = pl.Series([places.get(row) for row in range(height)], dtype=pl.List(pl.UInt32))
    lists = pl.DataFrame({"row": pl.int_range(height, eager=True), "at": pointed}).drop_nulls().explode("at")
    lists = lists.select("row", spans.to_struct(name).gather(lists["at"])).group_by("row", maintain_order=True).agg(name)
    return pl.select(row=pl.int_range(height)).join(lists, on="row", how="left", maintain_order="left")[name]


def _without(batch: pl.DataFrame, failures: Mapping[int, RecordError]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parts the rows that could not be masked from the others; their ids were not examined together with the text, so they are left out."""
    rows = sorted(failures)
    bad = batch[rows].with_columns(
        pl.lit(None, dtype=pl.String).alias("agent_id"),
        pl.lit(None, dtype=pl.String).alias("event_uid"),
        pl.Series("code", [failures[row].code for row in rows]),
        pl.Series("reason", [str(failures[row]) for row in rows]),
    )
    good = batch.filter(~pl.int_range(pl.len()).is_in(rows))
    return good, dead_rows(bad, step=Mask.name, disposition="dead", code=pl.col("code"), reason=pl.col("reason"))
