"""A genome as a scikit-learn classifier: in a pipeline, cross-validated, searched, and trained piece by piece."""

import sys

from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import neurograph as ng

folds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
X, y = load_wine(return_X_y=True, as_frame=False)
print(f"wine: {cross_val_score(ng.NeurographClassifier(random_state=0), X, y, cv=folds).mean():.3f} on {folds} folds")

pipeline = make_pipeline(PCA(8, random_state=0), ng.NeurographClassifier(random_state=0))
search = GridSearchCV(pipeline, {"neurographclassifier__steps": [5, 20]}, cv=folds).fit(X, y)
print(f"wine, 8 components: {search.best_score_:.3f} with {search.best_params_}")

X, y = load_digits(return_X_y=True)
model = ng.NeurographClassifier(random_state=0)
for start in range(0, 1280, 320):
    model.partial_fit(X[start : start + 320], y[start : start + 320], classes=range(10))
    print(f"digits, {start + 320} rows seen: {model.score(X[1400:], y[1400:]):.3f}")
