"""What a fit is shown: rows of tokens with what should be said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Row:
    """What the encoder reads and what it should say.

    Attributes:
        ids: int64[tokens], special ones included, at most 128.
        target: float32[labels] of a text (guard), or int64[tokens] of its tokens (tagger); -1 is not known.
    """

    ids: NDArray[np.int64]
    target: NDArray[Any]
