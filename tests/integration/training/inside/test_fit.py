"""The encoder in JAX, the low-rank deltas, and the fit on a tiny set."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from models.train.encoder import base_tree, first_deltas, hidden, pooled
from models.train.fit import Progress, Settings, batches, fit, text_loss, token_loss
from models.train.recipes import Base
from models.train.row import Row
from models.tuned import Tuned, lora_b

ROOT = Path(__file__).parents[4]
_TEXTS = ("Mia Li flies to Austin.", '{"name": "Mia Li", "city": "Austin", "orders": ["#W1", "#W2"]}', "ok")
_LAYERS = 2


def _reference() -> object:
    spec = importlib.util.spec_from_file_location("numpy_encoder", ROOT / "tests/unit/models/build/numpy_encoder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def base() -> Base:
    return Base.installed()


@pytest.fixture(scope="module")
def shallow(base: Base) -> dict[str, NDArray[np.float32]]:
    """The first layers of the encoder: enough for a fit that takes seconds."""
    return {key: value for key, value in base.weights.items() if not key.startswith("encoder.layer.") or int(key.split(".")[2]) < _LAYERS}


def _rows(base: Base) -> list[NDArray[np.int64]]:
    return [base.tokenizer.row(tokens, 0, tokens.count) for tokens in base.tokenizer(_TEXTS)]


def test_the_encoder_is_the_one_that_is_served(base: Base) -> None:
    tree, reference = base_tree(base.weights), _reference()
    for row in _rows(base):
        padded = np.pad(row, (0, 5))
        mask = np.pad(np.ones_like(row), (0, 5))
        found = np.asarray(hidden(tree, {}, 0.0, jnp.asarray(padded)[None], jnp.asarray(mask)[None]))[0, : len(row)]
        expected = reference.token_vectors(base.weights, row)  # type: ignore[attr-defined]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_deltas_beside_the_weights_are_deltas_merged_into_them(base: Base) -> None:
    random = np.random.default_rng(3)
    deltas = {key: np.asarray(value) for key, value in first_deltas(base.weights, 4, 1).items()}
    deltas = {key: random.normal(0, 0.02, value.shape).astype(np.float32) if key.endswith(lora_b("")) else value for key, value in deltas.items()}
    whole = Tuned(deltas, ("a",), 4, 8.0, {}, {}).merged(base.weights)
    row = jnp.asarray(_rows(base)[0])[None]
    mask = jnp.ones_like(row)
    beside = pooled(hidden(base_tree(base.weights), {key: jnp.asarray(value) for key, value in deltas.items()}, 2.0, row, mask), mask)
    inside = pooled(hidden(base_tree(whole), {}, 0.0, row, mask), mask)
    plain = pooled(hidden(base_tree(base.weights), {}, 0.0, row, mask), mask)
    np.testing.assert_allclose(np.asarray(beside), np.asarray(inside), atol=1e-4)
    assert float(jnp.abs(beside - plain).max()) > 1e-2


def _tiny(count: int) -> list[Row]:
    """Rows whose label is whether a certain token is in them."""
    random = np.random.default_rng(5)
    rows = []
    for number in range(count):
        ids = random.integers(2_000, 2_050, 20)
        if number % 2:
            ids[random.integers(1, 19)] = 9_999
        rows.append(Row(ids, np.array([number % 2, -1.0, 0.0], np.float32)))
    return rows


def _settings() -> Settings:
    return Settings(rank=4, rate=3e-3, batch_tokens=512, first_layer=1, seed=9)


def test_a_short_fit_lowers_the_loss_and_is_the_same_each_time(shallow: dict[str, NDArray[np.float32]]) -> None:
    losses: list[float] = []
    first, steps = fit(shallow, _tiny(800), 3, text_loss(1.0), _settings(), tell=lambda progress: losses.append(progress.loss))
    again, _ = fit(shallow, _tiny(800), 3, text_loss(1.0), _settings())
    assert steps == 50
    assert losses[-1] < 0.7 * losses[0]
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])


def test_a_fit_that_was_stopped_goes_on_as_if_it_had_not_been(shallow: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 45:
            raise Stopped

    whole, _ = fit(shallow, _tiny(800), 3, text_loss(1.0), _settings())
    with pytest.raises(Stopped):
        fit(shallow, _tiny(800), 3, text_loss(1.0), _settings(), tmp_path / "c.npz", stop)
    seen: list[int] = []
    resumed, _ = fit(shallow, _tiny(800), 3, text_loss(1.0), _settings(), tmp_path / "c.npz", lambda progress: seen.append(progress.step))
    assert seen[0] == 41
    for key in whole:
        np.testing.assert_allclose(whole[key], resumed[key], atol=1e-6)


def test_a_tagger_learns_which_token_is_marked(shallow: dict[str, NDArray[np.float32]]) -> None:
    rows = [Row(row.ids, np.where(row.ids == 9_999, 1, 0).astype(np.int64)) for row in _tiny(800)]
    losses: list[float] = []
    fit(shallow, rows, 7, token_loss, _settings(), tell=lambda progress: losses.append(progress.loss))
    assert losses[-1] < 0.3 * losses[0]


def test_a_batch_has_one_padded_length_and_its_size() -> None:
    rows = [Row(np.zeros(length, np.int64), np.zeros(3, np.float32)) for length in [10, 40, 100] * 40]
    for group in batches(rows, 512, 1):
        lengths = {len(rows[number].ids) for number in group}
        assert len(lengths) == 1
        assert len(group) * {10: 32, 40: 64, 100: 128}[lengths.pop()] == 512
