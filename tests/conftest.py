"""`--kernel=NAME` reruns every test that builds a network on another kernel."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel", default="auto", help="kernel that the tests run on: auto, blocks, gather, reference")


@pytest.fixture(scope="session")
def kernel(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--kernel")


@pytest.fixture
def x64():
    """Float64 inside one test."""
    import jax

    with jax.enable_x64(True):
        yield
