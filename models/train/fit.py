"""The fit: deltas and a head learn from rows of tokens, in batches of like length, the same for the same seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from models.spec import EMBEDDING_SIZE
from models.train.encoder import Tree, base_tree, first_deltas, hidden, pooled
from models.train.row import Row
from models.tuned import Arrays

#: Lengths that rows are padded to: each is compiled once.
_LENGTHS: Final = (32, 64, 128)
_PADDING_ID: Final = 0
_SAVED_EVERY_STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Settings:
    """How to fit.

    Attributes:
        rank: Of the deltas.
        alpha: The delta is alpha / rank x B x A.
        rate: Highest learning rate.
        batch_tokens: Tokens of a batch, padding included.
        first_layer: The layers before it stay as they are, which saves their slopes.
        seed: Of the first deltas and of the order of batches.
        minutes_max: When to stop early.
        positive_weight: What a positive weighs against a negative (guard).
    """

    rank: int = 8
    alpha: float = 16.0
    rate: float = 1e-3
    batch_tokens: int = 3072
    first_layer: int = 1
    seed: int = 0
    minutes_max: float = 60.0
    positive_weight: float = 1.0


#: (head and deltas, base, ids, mask, target, scale) -> loss
Loss = Callable[[Tree, Tree, jax.Array, jax.Array, jax.Array, float], jax.Array]


def text_loss(positive_weight: float, smoothing: float = 0.0) -> Loss:
    """Gives the loss of scores per text: binary cross-entropy for each label, where it is known; labels may be wrong by ``smoothing``."""

    def loss(tree: Tree, base: Tree, ids: jax.Array, mask: jax.Array, target: jax.Array, scale: float) -> jax.Array:
        scores = text_logits(tree, base, ids, mask, scale)
        known = (target >= 0).astype(jnp.float32)
        weight = known * jnp.where(target > 0.5, positive_weight, 1.0)
        return (weight * optax.sigmoid_binary_cross_entropy(scores, jnp.clip(target, smoothing, 1 - smoothing))).sum() / jnp.maximum(known.sum(), 1.0)

    return loss


def token_loss(tree: Tree, base: Tree, ids: jax.Array, mask: jax.Array, target: jax.Array, scale: float) -> jax.Array:
    """Gives the loss of classes per token: cross-entropy, where the class is known."""
    known = (target >= 0).astype(jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(token_logits(tree, base, ids, mask, scale), jnp.maximum(target, 0))
    return (known * losses).sum() / jnp.maximum(known.sum(), 1.0)


def text_logits(tree: Tree, base: Tree, ids: jax.Array, mask: jax.Array, scale: float) -> jax.Array:
    """Gives float32[rows, labels] from the mean of the tokens."""
    return pooled(hidden(base, tree, scale, ids, mask), mask) @ tree["head.weight"].T + tree["head.bias"]


def token_logits(tree: Tree, base: Tree, ids: jax.Array, mask: jax.Array, scale: float) -> jax.Array:
    """Gives float32[rows, tokens, classes]."""
    return hidden(base, tree, scale, ids, mask) @ tree["head.weight"].T + tree["head.bias"]


def batches(rows: Sequence[Row], batch_tokens: int, seed: int) -> list[list[int]]:
    """Groups the numbers of rows into batches of one padded length each, in an order that the seed decides."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows))
    groups: list[list[int]] = []
    for shorter, length in zip((0, *_LENGTHS), _LENGTHS, strict=False):
        mine = [int(number) for number in order if shorter < len(rows[number].ids) <= length]
        size = batch_tokens // length
        groups += [mine[start : start + size] for start in range(0, len(mine) - size + 1, size)]
    return [groups[number] for number in random.permutation(len(groups))]


def padded(rows: Sequence[Row]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
    """Gives ids, mask and targets of one batch, padded to the next of the compiled lengths."""
    longest = max(len(row.ids) for row in rows)
    length = next(length for length in _LENGTHS if length >= longest)
    ids = np.full((len(rows), length), _PADDING_ID, np.int32)
    mask = np.zeros((len(rows), length), np.int32)
    by_token = rows[0].target.dtype == np.int64
    target = np.full((len(rows), length), -1, np.int32) if by_token else np.stack([row.target for row in rows])
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = row.ids
        mask[number, : len(row.ids)] = 1
        if by_token:
            target[number, : len(row.target)] = row.target
    return ids, mask, target


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a fit stands.

    Attributes:
        step: Batches learned from.
        steps: Batches in all.
        loss: Mean over the last batches.
        seconds: Since the fit began.
    """

    step: int
    steps: int
    loss: float
    seconds: float


def fit(
    weights: Arrays,
    rows: Sequence[Row],
    labels: int,
    loss: Loss,
    settings: Settings,
    checkpoint: Path | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
    start: Arrays | None = None,
) -> tuple[Arrays, int]:
    """Learns from each row once.

    Args:
        weights: The base encoder.
        rows: What to learn from.
        labels: Rows of the head.
        loss: :func:`text_loss` or :func:`token_loss`.
        settings: How.
        checkpoint: Where to save while it runs; a fit that was stopped goes on from there.
        tell: Told how far it is.
        start: Deltas and head to go on from; None begins with deltas that change nothing.

    Returns:
        Deltas and head, and how many batches they have seen: fewer than there are where ``minutes_max`` was reached.
    """
    base = base_tree(weights, jnp.bfloat16)
    groups = batches(rows, settings.batch_tokens, settings.seed)
    scale = settings.alpha / settings.rank
    tree = first_deltas(weights, settings.rank, settings.seed, settings.first_layer)
    tree["head.weight"] = jnp.zeros((labels, EMBEDDING_SIZE), jnp.float32)
    tree["head.bias"] = jnp.zeros((labels,), jnp.float32)
    tree |= {key: jnp.asarray(value) for key, value in (start or {}).items()}
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.rate, max(1, len(groups) // 20), max(2, len(groups)), settings.rate * 0.02)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01))
    state = optimiser.init(tree)

    @jax.jit
    def step(tree: Tree, state: Any, base: Tree, ids: jax.Array, mask: jax.Array, target: jax.Array) -> tuple[Tree, Any, jax.Array]:
        value, slopes = jax.value_and_grad(loss)(tree, base, ids, mask, target, scale)
        updates, state = optimiser.update(slopes, state, tree)
        return optax.apply_updates(tree, updates), state, value

    tree, state, begin = _resumed(checkpoint, tree, state)
    recent: list[float] = []
    started = time.monotonic()
    done = begin
    for number in range(begin, len(groups)):
        ids, mask, target = padded([rows[row] for row in groups[number]])
        tree, state, value = step(tree, state, base, ids, mask, target)
        recent = [*recent[-29:], float(value)]
        done = number + 1
        seconds = time.monotonic() - started
        tell(Progress(done, len(groups), float(np.mean(recent)), seconds))
        if checkpoint is not None and done % _SAVED_EVERY_STEPS == 0:
            _save(checkpoint, tree, state, done)
        if seconds > settings.minutes_max * 60:
            break
    return {key: np.asarray(value, np.float32) for key, value in tree.items()}, done


def _save(checkpoint: Path, tree: Tree, state: Any, done: int) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    leaves = jax.tree.leaves((tree, state))
    new = checkpoint.with_suffix(".new.npz")
    arrays: dict[str, Any] = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
    np.savez(new, done=done, **arrays)
    new.replace(checkpoint)


def _resumed(checkpoint: Path | None, tree: Tree, state: Any) -> tuple[Tree, Any, int]:
    if checkpoint is None or not checkpoint.exists():
        return tree, state, 0
    shape = jax.tree.structure((tree, state))
    with np.load(checkpoint) as saved:
        leaves = [jnp.asarray(saved[f"leaf{number}"]) for number in range(shape.num_leaves)]
        done = int(saved["done"])
    tree, state = jax.tree.unflatten(shape, leaves)
    return tree, state, done


class Scorer:
    """Runs a trained model in float32, as the built one does, over rows of any length up to 128.

    Args:
        weights: The base encoder.
        trained: Deltas and head.
        scale: alpha over rank.
        by_token: Whether it gives classes per token (tagger) or scores per row (guard).
    """

    def __init__(self, weights: Arrays, trained: Arrays, scale: float, by_token: bool) -> None:
        self._base, self._tree = base_tree(weights), {key: jnp.asarray(value) for key, value in trained.items()}
        logits = token_logits if by_token else text_logits
        squash = (lambda x: jax.nn.softmax(x, axis=-1)) if by_token else jax.nn.sigmoid
        self._run = jax.jit(lambda tree, base, ids, mask: squash(logits(tree, base, ids, mask, scale)))
        self._by_token = by_token

    def __call__(self, rows: Sequence[NDArray[np.int64]], batch_tokens: int = 4096) -> list[NDArray[np.float32]]:
        """Gives float32[labels] of each row, or float32[tokens, classes], special tokens left out."""
        results: list[NDArray[np.float32] | None] = [None] * len(rows)
        for group in _by_length(rows, batch_tokens):
            empty = np.zeros(1, np.float32)
            ids, mask, _ = padded([Row(rows[number], empty) for number in group])
            size = batch_tokens // ids.shape[1]
            ids, mask = (np.pad(array, ((0, size - len(group)), (0, 0)), constant_values=1) for array in (ids, mask))
            found = np.asarray(self._run(self._tree, self._base, ids, mask))
            for place, number in enumerate(group):
                results[number] = found[place, 1 : len(rows[number]) - 1] if self._by_token else found[place]
        return [result for result in results if result is not None]


def _by_length(rows: Sequence[NDArray[np.int64]], batch_tokens: int) -> Iterator[list[int]]:
    for shorter, length in zip((0, *_LENGTHS), _LENGTHS, strict=False):
        mine = [number for number, row in enumerate(rows) if shorter < len(row) <= length]
        size = batch_tokens // length
        yield from (mine[start : start + size] for start in range(0, len(mine), size))
