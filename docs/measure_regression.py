"""`NeurographRegressor` beside scikit-learn's own: R^2 in five folds; prints the table of docs/howto/scikit_learn.md.

python docs/measure_regression.py [SEEDS]

A seed shuffles the rows before they are cut into folds, and is the learners' own. All learners have their defaults, but for what
the table says. Inputs are standardised by the training rows of a fold; targets are as they are, with which the MLP is better.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neurograph import NeurographRegressor

FOLDS = 5
PENALTIES = np.logspace(-3, 3, 13)
DATA = {
    "diabetes": load_diabetes(return_X_y=True),
    "friedman1, 1,000 rows, noise 1": make_friedman1(1000, noise=1.0, random_state=0),
}
LEARNERS = {
    "neurograph": lambda seed: NeurographRegressor(random_state=seed),
    f"ridge (one of {len(PENALTIES)} penalties by cross-validation)": lambda seed: RidgeCV(PENALTIES),
    "MLPRegressor (64 hidden, 1,000 epochs)": lambda seed: MLPRegressor(
        hidden_layer_sizes=(64,), max_iter=1000, random_state=seed
    ),
}


def main(seeds: int = 3) -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)  # of the MLP, whose epochs are those of the table
    print(f"| data | {' | '.join(LEARNERS)} |\n|---|{'---|' * len(LEARNERS)}")
    failures = 0
    for name, (X, y) in DATA.items():
        cells = []
        for make in LEARNERS.values():
            means = []
            for seed in range(seeds):
                model = make_pipeline(StandardScaler(), make(seed))
                folds = KFold(FOLDS, shuffle=True, random_state=seed)
                scores = cross_val_score(model, X, y, cv=folds, error_score=np.nan)
                failures += int((~np.isfinite(scores)).sum())
                means.append(float(scores.mean()))
            cells.append(f"{np.mean(means):.3f} ({min(means):.3f} to {max(means):.3f})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    fits = len(DATA) * len(LEARNERS) * seeds * FOLDS
    print(f"\n{fits} fits, {failures} without a finite score")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
