"""What the build writes can be changed while it is served, as the models of the other tests can."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.build.repository import Built
from models.build.texts import sample
from models.client import ClientSettings, TritonModels
from models.control import ModelControl
from streams.embedded.triton import TritonServer

pytestmark = pytest.mark.integration
DEADLINE_S = 60.0


def test_a_second_version_of_a_built_model_is_served_beside_the_first(built_models: Sequence[Built], tmp_path: Path, parts_cache: Path) -> None:
    (embedder,) = (one for one in built_models if one.model == "embedder")
    home = shutil.copytree(embedder.folder.parent, tmp_path / "repository" / "embedder")
    shutil.copytree(home / "1", home / "2")
    texts = [one.text for one in sample(7, 8)]
    with TritonServer(tmp_path / "repository", tmp_path / "triton", cache=parts_cache) as server:
        control = ModelControl(server.endpoint)
        assert control.versions("embedder") == ("2",), "the newest, unless told otherwise"
        assert control.load("embedder", DEADLINE_S, versions=[1, 2]) == ("1", "2")
        found = []
        for version in ("1", "2"):
            with TritonModels(server.endpoint, ClientSettings(cache_bytes_max=0, versions={"embedder": version})) as models:
                found.append(models.embed(texts, DEADLINE_S))
        assert np.array_equal(*found)
