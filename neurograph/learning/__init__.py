"""Learning of a task: the inner loop of a genome, and gradient descent beside it."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "inner_loop": (
            "Problem",
            "accuracy",
            "fresh_synapses",
            "judge",
            "learn",
            "learn_and_judge",
            "learning_curve",
            "meta_loss",
            "query_loss",
            "r2",
        ),
        "baselines": ("SETTINGS", "Setting", "baseline_curves", "ordinary_network"),
        "linear": ("Linear", "linear_baseline"),
        "trial": ("Trial",),
        "tuning": ("choose_learning_rates", "tuned_baselines"),
        "sequence": (
            "DescentLearner",
            "GenomeLearner",
            "Phase",
            "best_descent",
            "descent_learner",
            "learn_sequence",
            "permuted",
        ),
        "estimator": ("NeurographClassifier", "NeurographRegressor"),
    },
)
