"""What `pyproject.toml` promises of the package."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_the_gpu_extra_leaves_out_slow_releases_of_jax():
    """0.10.2 and 0.11.0 add float32 by scatter up to 2,000 times slower on GPUs."""
    (jax,) = (found for found in map(Requirement, PROJECT["optional-dependencies"]["cuda12"]) if found.name == "jax")
    allowed = [version for version in ("0.8.0", "0.10.1", "0.10.2", "0.11.0", "0.11.1") if version in jax.specifier]
    assert allowed == ["0.8.0", "0.10.1", "0.11.1"]
    assert jax.extras == {"cuda12"}
