"""`--kernel=NAME` reruns every test that builds a network on another kernel; `--hypothesis-profile=wander` draws other examples.

A run draws the same examples every time, so that what fails is what a change broke, and does not make them smaller, which
compiles for minutes. Wander to look for faults.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys

import hypothesis
import jaxtyping
import pytest
import shapes

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nearly all of the tests' time is compiling small programs that run once: leaving out XLA's and LLVM's optimisations makes that
# four times faster. Releases stop at flags that they do not know. Set XLA_FLAGS yourself (even "") to test otherwise.
FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
KNOWN = {(0, 8): [*FLAGS, "--xla_cpu_use_fusion_emitters=false"], (0, 12): FLAGS}
KNOWN[0, 10] = KNOWN[0, 8]
os.environ.setdefault("XLA_FLAGS", " ".join(KNOWN.get(tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])), ())))

# Bytes that one process of the tests may hold before it forgets what it compiled.
ROOM = 3 << 30

hypothesis.settings.register_profile("fixed", derandomize=True, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
hypothesis.settings.register_profile("wander", derandomize=False)
hypothesis.settings.load_profile("fixed")

# Array types of these modules are checked whenever a function is called: see shapes.py.
HOOK = jaxtyping.install_import_hook(shapes.WATCHED, "shapes.checked")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel", default="auto", help="kernel that the tests run on: see network/kernels/choice.py")


@pytest.fixture(scope="session")
def kernel(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--kernel")


@pytest.fixture
def x64():
    """Float64 inside one test."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    """Small programs serve the next files, too, but kept for all of a run they fill gigabytes."""
    yield
    if "jax" in sys.modules and _resident() > ROOM:
        sys.modules["jax"].clear_caches()


def _resident() -> float:
    """Bytes of memory that this process holds; infinite where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return float("inf")
