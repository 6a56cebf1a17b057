"""A gateway that serves the sample models and the published ones, shared by a whole run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import Gateway
from models import MODELS, folder


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One registry folder with every model under test."""
    registry = tmp_path_factory.mktemp("registry")
    for model in MODELS:
        shutil.copytree(folder(model), registry / model)
    return registry


@pytest.fixture(scope="session")
def gateway(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(registry, tmp_path_factory.mktemp("gateway") / "log")
    yield gateway
    gateway.stop()
