"""Makes the files of this folder from the full set of reference numbers: keeps float64 and what the tests compare.

Usage: python tests/golden/trim.py FOLDER_WITH_FULL_FILES
"""

import json
import sys
from pathlib import Path

import numpy as np

KEEP = (
    "in.",
    "genome.",
    "f64.forward.layer",
    "f64.feedback",
    "f64.backward",
    "f64.final",
    "f64.seq.synapse",
    "f64.seq.forward_last",
)
KEEP = (*KEEP, "f64.query", "f64.state_update", "f64.oja.")


def main(source: Path) -> None:
    here = Path(__file__).parent
    index = json.loads((source / "index.json").read_text())
    for entry in index:
        with np.load(source / entry["file"]) as arrays:
            np.savez_compressed(here / entry["file"], **{k: arrays[k] for k in arrays.files if k.startswith(KEEP)})
    configs = {entry["file"]: entry["config"] for entry in index}
    (here / "index.json").write_text(json.dumps(configs, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
