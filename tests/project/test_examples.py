"""Every example and every Python block of the README runs, at a small size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIZES = {
    "learn_on_your_graph.py": ["2"],
    "meta_learn_in_python.py": ["2"],
    "optax_loop.py": ["2"],
    "plain_jax_loop.py": ["2"],
    "torch_data_loop.py": ["1"],
    "transfer.py": ["1"],
    "cma_evolution.py": ["1"],
    "sklearn_pipeline.py": ["2"],
}
QUICK = {"backprop_is_a_genome.py"}  # the others compile for tens of seconds


def run(arguments: list[str], folder: Path) -> str:
    """Run Python in a folder that has the topologies, as a clone has."""
    if not (folder / "topologies").exists():
        (folder / "topologies").symlink_to(ROOT / "topologies")
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


EXAMPLES = [
    pytest.param(path, id=path.name, marks=[] if path.name in QUICK else pytest.mark.thorough)
    for path in sorted((ROOT / "examples").glob("*.py"))
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_example(path: Path, tmp_path: Path):
    assert run([str(path), *SIZES.get(path.name, [])], tmp_path).strip()


def test_python_of_the_readme(tmp_path: Path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    run([str(script)], tmp_path)


def test_commands_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    from neurograph.cli import COMMANDS

    named = set(re.findall(r"^(?:\.venv/bin/)?neurograph ([a-z-]+)", text, flags=re.MULTILINE)) | set(
        re.findall(r"\.venv/bin/neurograph ([a-z-]+)", text)
    )
    assert named
    assert named <= set(COMMANDS), named - set(COMMANDS)
    test_command = ".venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -n 2"
    assert test_command in text
    for part in test_command.split(" && "):
        assert part in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
