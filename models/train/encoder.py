"""The base encoder (MiniLM-L6, BERT layout) as a function of its weights and of low-rank deltas beside them.

Equal to the encoder that is served within 1e-4 in float32 (a test compares the two). Training runs the products with frozen weights in bfloat16:
twice as fast on a CPU that has it, and the deltas stay float32.
"""

from __future__ import annotations

from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from models.tuned import LINEARS, lora_a, lora_b

HEADS: Final = 12
_EPSILON: Final = 1e-12
_MASKED: Final = -1e9

#: float32 by name; a tree that JAX differentiates.
Tree = dict[str, Any]


def layers_of(base: Tree) -> int:
    """Tells how many layers the encoder has."""
    return 1 + max(int(key.split(".")[2]) for key in base if key.startswith("encoder.layer."))


def base_tree(weights: dict[str, NDArray[np.float32]], dtype: Any = jnp.float32) -> Tree:
    """Gives the frozen weights; matrices in ``dtype``, what normalises in float32."""
    return {key: jnp.asarray(value, dtype if value.ndim == 2 else jnp.float32) for key, value in weights.items() if value.dtype != np.int64}


def first_deltas(base: Tree, rank: int, seed: int, first_layer: int = 0) -> Tree:
    """Gives deltas that change nothing yet: A random, B zero, for every linear of every layer from the stated one on."""
    random = np.random.default_rng(seed)
    deltas: Tree = {}
    for layer in range(first_layer, layers_of(base)):
        for linear in LINEARS:
            key = f"encoder.layer.{layer}.{linear}.weight"
            out_size, in_size = base[key].shape
            deltas[lora_a(key)] = jnp.asarray(random.normal(0, in_size**-0.5, (rank, in_size)), jnp.float32)
            deltas[lora_b(key)] = jnp.zeros((out_size, rank), jnp.float32)
    return deltas


def hidden(base: Tree, deltas: Tree, scale: float, ids: jax.Array, mask: jax.Array) -> jax.Array:
    """Gives float32[rows, tokens, 384] for int[rows, tokens] ids and their mask; ``scale`` is alpha over rank."""
    length = ids.shape[1]
    x = base["embeddings.word_embeddings.weight"][ids].astype(jnp.float32)
    x = (
        x
        + base["embeddings.position_embeddings.weight"][:length].astype(jnp.float32)
        + base["embeddings.token_type_embeddings.weight"][0].astype(jnp.float32)
    )
    x = _normalised(base, x, "embeddings.LayerNorm")
    bias = (1.0 - mask[:, None, None, :].astype(jnp.float32)) * _MASKED
    for layer in range(layers_of(base)):
        x = _layer(base, deltas, scale, x, bias, f"encoder.layer.{layer}.")
    return x


def pooled(states: jax.Array, mask: jax.Array) -> jax.Array:
    """Gives the mean over the tokens of each row, not normalised: float32[rows, 384]."""
    weights = mask[:, :, None].astype(jnp.float32)
    return (states * weights).sum(1) / jnp.maximum(weights.sum(1), 1.0)


def _normalised(base: Tree, x: jax.Array, key: str) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + _EPSILON) * base[key + ".weight"] + base[key + ".bias"]


@jax.custom_vjp
def _product(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Gives x W^T in float32, computed in the type of W; its slopes too, which JAX alone would compute in float32, five times slower."""
    return jnp.matmul(x.astype(weight.dtype), weight.T, preferred_element_type=jnp.float32)


def _product_forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    x = x.astype(weight.dtype)
    return _product(x, weight), (x, weight)


def _product_backward(saved: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = saved
    slope = slope.astype(weight.dtype)
    rows = slope.reshape(-1, slope.shape[-1])
    to_weight = jnp.matmul(rows.T, x.reshape(-1, x.shape[-1]), preferred_element_type=jnp.float32)
    return jnp.matmul(slope, weight, preferred_element_type=jnp.float32), to_weight.astype(weight.dtype)


_product.defvjp(_product_forward, _product_backward)


@jax.custom_vjp
def _gelu(x: jax.Array) -> jax.Array:
    """Gives x times the normal distribution's share below x, exactly; its slope is told, because the derived one takes as long as a layer."""
    return x * (0.5 + 0.5 * jax.lax.erf(x * np.float32(0.5**0.5)))


def _gelu_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    share = 0.5 + 0.5 * jax.lax.erf(x * np.float32(0.5**0.5))
    return x * share, (x, share)


def _gelu_backward(saved: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array]:
    x, share = saved
    return (slope * (share + x * jnp.exp(-0.5 * x * x) * np.float32((2 * np.pi) ** -0.5)),)


_gelu.defvjp(_gelu_forward, _gelu_backward)


def _linear(base: Tree, deltas: Tree, scale: float, x: jax.Array, key: str) -> jax.Array:
    weight = base[key + ".weight"]
    y = _product(x, weight) + base[key + ".bias"]
    a = deltas.get(lora_a(key + ".weight"))
    if a is None:
        return y
    b = deltas[lora_b(key + ".weight")]
    return y + scale * _product(_product(x, a.astype(weight.dtype)), b.astype(weight.dtype))


def _layer(base: Tree, deltas: Tree, scale: float, x: jax.Array, bias: jax.Array, key: str) -> jax.Array:
    rows, length, size = x.shape

    def heads(name: str) -> jax.Array:
        return _linear(base, deltas, scale, x, f"{key}attention.self.{name}").reshape(rows, length, HEADS, size // HEADS)

    query, keys, values = heads("query") * (size // HEADS) ** -0.5, heads("key"), heads("value")
    shares = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", query, keys) + bias, axis=-1)
    context = jnp.einsum("bhqk,bkhd->bqhd", shares, values).reshape(rows, length, size)
    x = _normalised(base, x + _linear(base, deltas, scale, context, key + "attention.output.dense"), key + "attention.output.LayerNorm")
    inner = _gelu(_linear(base, deltas, scale, x, key + "intermediate.dense"))
    return _normalised(base, x + _linear(base, deltas, scale, inner, key + "output.dense"), key + "output.LayerNorm")
