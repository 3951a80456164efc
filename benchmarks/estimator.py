"""`NeurographClassifier` beside scikit-learn's own on the data sets that scikit-learn holds: python -m benchmarks.estimator.

The estimator's defaults were chosen by cross-validation within the training three quarters of each set; "held out" is the last
quarter, "cross-validated" five folds of all rows. Every learner stands behind a `StandardScaler`.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neurograph import NeurographClassifier

LEARNERS = {
    "neurograph": lambda seed: NeurographClassifier(random_state=seed),
    "logistic regression": lambda seed: LogisticRegression(max_iter=1000),
    "MLP": lambda seed: MLPClassifier(random_state=seed),
}


def main(seeds: int = 10) -> None:
    warnings.simplefilter("ignore")  # the MLP's 200 passes are often too few for its own taste
    print(f"{'':14}{'':20}{'held out: median, lowest, highest':>34}{'cross-validated':>17}{'seconds of a fit':>18}")
    for load in (load_iris, load_wine, load_breast_cancer, load_digits):
        X, y = load(return_X_y=True)
        learn_x, test_x, learn_y, test_y = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
        for name, make in LEARNERS.items():
            scores, seconds = [], []
            for seed in range(seeds):
                started = time.process_time()
                model = make_pipeline(StandardScaler(), make(seed)).fit(learn_x, learn_y)
                seconds.append(time.process_time() - started)
                scores.append(model.score(test_x, test_y))
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            crossed = np.mean([cross_val_score(make_pipeline(StandardScaler(), make(s)), X, y, cv=folds) for s in range(3)])
            held = f"{statistics.median(scores):.3f} {min(scores):.3f} {max(scores):.3f}"
            print(f"{load.__name__[5:]:14}{name:20}{held:>34}{crossed:>17.3f}{statistics.median(seconds):>18.2f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
