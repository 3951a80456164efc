"""The paper's experiments, each one command: `neurograph reproduce NAME --scale smoke|laptop|paper`.

A reproduction is a module here with a function `run(bench)`. It meta-trains by experiment files (`Workbench.train`), tests by
transfer matrices (`Workbench.test`), writes its data and figures and ends with findings: what the paper claims, what was seen,
whether that is the same. This file imports nothing: the list is shown without loading JAX.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RECIPES", "REPRODUCTIONS", "SCALES", "Entry"]

SCALES = ("smoke", "laptop", "paper")
"""smoke: seconds, embedded data, nothing is judged; laptop: minutes on two cores; paper: the paper's sizes, hours to
weeks of one core (`--plan`)."""

RECIPES = {"shipped": "mnist", "printed": "paper_gradient"}
"""The experiment that genomes for images are meta-trained by: one that learns in minutes, or as printed."""


@dataclass(frozen=True)
class Entry:
    """A reproduction: the module that runs it, what it reproduces ("figure 5", "beyond the paper") and what it asks.

    `any_recipe`: it replaces of the recipe only what its figure varies, so that it may be run with each of `RECIPES`.
    `question`: it asks what the paper does not claim, so that its verdict is an answer.
    `trains`: it meta-trains genomes, so that there is something to plan.
    `version`: of what it trains and claims; the page says which results are of an earlier one.
    """

    module: str
    figure: str
    title: str
    any_recipe: bool = False
    question: bool = False
    trains: bool = True
    version: int = 1


REPRODUCTIONS: dict[str, Entry] = {
    "toy": Entry("neurograph.reproduce.claims.toy", "figures 3 and 4", "Functions of two variables", True, version=2),
    "recipe": Entry("neurograph.reproduce.claims.recipe", "sections 3.3 and 4.2", "The recipe as printed"),
    "generalization": Entry(
        "neurograph.reproduce.claims.generalization", "figure 5", "One small data set, then others", True, version=2
    ),
    "sgd": Entry("neurograph.reproduce.claims.sgd", "figure 6", "Beside SGD, momentum and Adam", True, version=2),
    "cma": Entry("neurograph.reproduce.claims.cma", "figure 7", "Evolution beside gradients", True, version=2),
    "normalization": Entry(
        "neurograph.reproduce.claims.normalization", "figure 8", "With and without normalization", True, version=2
    ),
    "variants": Entry("neurograph.reproduce.claims.variants", "figure 9", "Kinds of synapses and starts", True, version=2),
    "depth": Entry("neurograph.reproduce.claims.depth", "figure 10", "Other depths and widths", True, version=2),
    "datasets": Entry("neurograph.reproduce.claims.datasets", "figure 11", "The data sets as pictures", trains=False),
    "nonlinearities": Entry("neurograph.reproduce.claims.nonlinearities", "figure 12", "Other non-linearities", True, version=2),
    "states": Entry("neurograph.reproduce.claims.states", "figure 13", "The number of states", True),
    "curriculum": Entry("neurograph.reproduce.claims.curriculum", "figure 14", "Growing unrolls", True),
    "oja": Entry("neurograph.reproduce.claims.oja", "figure 15", "Oja's rule", True),
    "synapse_normalization": Entry(
        "neurograph.reproduce.claims.synapse_normalization", "figure 16", "Normalised synapses", True, version=2
    ),
    "updates": Entry("neurograph.reproduce.claims.updates", "figure 17", "How feedback acts on a neuron", True),
    "extensions": Entry("neurograph.reproduce.claims.extensions", "section 5", "What the paper leaves for later", True, True),
    "transfer": Entry("neurograph.reproduce.claims.transfer", "beyond the paper", "What makes a genome transfer", question=True),
    "continual": Entry("neurograph.reproduce.claims.continual", "C.6 and beyond", "Task after task on the same synapses", True),
}
