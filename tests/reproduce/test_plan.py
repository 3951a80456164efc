"""What the figures meta-train at paper scale: the paper's variants and numbers, listed without training."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import product

import pytest
from click.testing import CliRunner

from neurograph.cli.reproduce import reproduce as command
from neurograph.errors import ExperimentError
from neurograph.experiments.spec import load_experiment
from neurograph.reproduce.plan import plan
from neurograph.tasks import FIGURE_3_TRAIN


@pytest.fixture(scope="module")
def paper():
    """The specs of a figure by the printed recipe (figure 7 has its own), seed 0, and the number of seeds."""

    def listed(name):
        found = plan(name, "paper", "shipped" if name == "cma" else "printed").specs
        (seeds,) = set(Counter(label for label, _ in found).values())
        return {label: spec for (label, seed), spec in found.items() if seed == 0}, seeds

    return listed


def rule_of(spec):
    from neurograph.genome.rule import Rule

    return Rule.from_dict(spec.rule)


def as_printed(spec, meta_steps=10_000, genomes=1):
    """Section 4.2's rates and appendix C.1."""
    training = spec.training
    assert (training.method, training.learning_rate, training.final_learning_rate, training.clip) == (
        "gradient",
        0.0005,
        None,
        10,
    )
    assert (training.meta_steps, training.genomes, training.screen) == (meta_steps, genomes, 0)
    assert (spec.unroll.steps, spec.unroll.batch_size) == (10, 128)
    assert (rule_of(spec).feedback, rule_of(spec).normalization) == ("labels", "batch")


def test_figure_17_has_24_variants_best_of_8(paper):
    specs, seeds = paper("updates")
    assert seeds == 8
    found = set()
    for spec in specs.values():
        rule = rule_of(spec)
        as_printed(spec)
        assert (rule.states, rule.normalizes_backward) == (2, "batch")
        assert [(p.task, p.topology) for p in spec.problems] == [("mnist/10x10", "mnist_10x10")]
        found.add((rule.backward_update, rule.symmetric, rule.single_state_synapses, spec.start.kind))
    updates = ("additive", "multiplicative", "multiplicative_second_state")
    assert found == {*product(updates, (True, False), (True, False), ("near_backprop", "random"))}


def test_figure_9_has_eight_variants_of_each_data_set_best_of_8(paper):
    specs, seeds = paper("variants")
    assert seeds == 8
    found = set()
    for spec in specs.values():
        rule = rule_of(spec)
        as_printed(spec)
        (place,) = spec.problems
        if place.task == "omniglot":
            assert (place.options, place.topology) == ({"size": 28, "characters": 1200}, "mnist_28x28")
        found.add((place.task, rule.symmetric, rule.single_state_synapses, spec.start.kind))
    assert found == {*product(("mnist/10x10", "omniglot"), (True, False), (True, False), ("near_backprop", "random"))}


def test_figure_12_has_identical_pairs_and_none_backward_at_two_to_eight_states(paper):
    specs, seeds = paper("nonlinearities")
    assert seeds == 3
    found = {(r.forward_activation, r.backward_activation, r.states) for r in map(rule_of, specs.values())}
    forward = {one for one, _, _ in found}
    assert {"relu", "tanh", "identity"} < forward
    assert found == {(one, back, k) for one in forward for back in {one, "identity"} for k in range(2, 9)}
    for spec in specs.values():
        as_printed(spec, genomes=8)


def test_figure_16_crosses_synapse_normalization_with_oja_best_of_10(paper):
    specs, seeds = paper("synapse_normalization")
    assert seeds == 10
    found = {(r.synapse_normalization, r.oja) for r in map(rule_of, specs.values())}
    assert found == {*product(("none", "in_pass", "stored"), ("none", "printed"))}
    for spec in specs.values():
        as_printed(spec, genomes=8)


def test_figure_10_is_trained_at_two_three_and_four_hidden_layers(paper):
    specs, _ = paper("depth")
    assert list(specs) == ["trained at 2", "trained at 3", "trained at 4"]


def test_figure_7_has_the_searches_of_section_4_4_best_of_8(paper):
    specs, seeds = paper("cma")
    assert seeds == 8
    for setting in ("labels", "softmax"):
        evolved, descended = (specs[f"{method}, {setting}"] for method in ("CMA-ES", "gradient"))
        assert (evolved.training.population, evolved.training.meta_steps) == (80, 400)
        assert (descended.training.meta_steps, descended.training.genomes) == (10_000, 1)
        for spec in (evolved, descended):
            assert [(p.task, p.options, p.topology) for p in spec.problems] == [("mnist", {"size": 14}, "mnist_14x14")]
            assert (spec.unroll.steps, spec.unroll.batch_size) == (15, 128)
    unroll = specs["CMA-ES, labels"].unroll
    assert (unroll.query_size, unroll.query_batches) == (128, 20)
    assert (specs["gradient, labels"].training.learning_rate, specs["gradient, labels"].training.clip) == (0.0005, 10)


def test_figure_6_has_a_genome_of_four_states_by_a_curriculum(paper):
    specs, seeds = paper("sgd")
    (spec,) = specs.values()
    as_printed(spec, meta_steps=90_000, genomes=8)
    assert (seeds, spec.rule["states"], spec.training.replace) == (8, 4, 7)
    assert [spec.unroll.length(step) for step in (9_999, 10_000, 89_999)] == [10, 15, 50]


def test_section_3_4_compares_three_ways_back_where_feedback_is_multiplied_in():
    specs = plan("normalization", "paper").specs.values()
    found = [rule_of(spec) for spec in specs if spec.rule.get("backward_update") == "multiplicative_second_state"]
    assert Counter(rule.normalizes_backward for rule in found) == {"batch": 5, "derivative": 5, "none": 5}


@pytest.mark.parametrize("recipe", ["shipped", "printed"])
def test_figure_5_is_one_genome_of_mnist_and_its_halves_by_a_curriculum(recipe):
    ((_, spec),) = plan("generalization", "paper", recipe).specs.items()
    assert [place.task for place in spec.problems] == ["mnist/10x10", "mnist/0-4", "mnist/5-9"]
    assert (spec.training.genomes, spec.training.replace, spec.training.validate_every) == (8, 7, 10_000)
    assert spec.training.meta_steps == 90_000
    assert [spec.unroll.length(step) for step in (0, 9_999, 10_000, 89_999)] == [10, 10, 15, 50]
    assert (spec.start.kind == "random") == (recipe == "printed")


def test_figures_3_and_4_are_trained_on_the_functions_of_figure_3():
    found = plan("toy", "paper")
    for spec in found.specs.values():
        assert tuple(place.task for place in spec.problems) == FIGURE_3_TRAIN
        assert (spec.training.genomes, spec.training.replace) == (1, 0)  # correlations are over runs
    assert found.labels == ["random start", "near backprop"]
    laptop = plan("toy", "laptop")
    assert len(laptop.specs) == 2 * 16
    assert 0.05 < laptop.hours < 0.3  # of small graphs the learning steps themselves take time: 476 s when it was run


@pytest.mark.parametrize(("name", "variants"), [("toy", 2), ("normalization", 11), ("curriculum", 6), ("cma", 3)])
def test_figures_with_starts_of_their_own_take_the_printed_rates(name, variants):
    specs = plan(name, "paper", "printed").specs
    assert len({label for label, _ in specs}) == variants
    gradients = [spec for spec in specs.values() if spec.training.method == "gradient"]
    assert {(spec.training.learning_rate, spec.training.final_learning_rate, spec.training.clip) for spec in gradients} == {
        (0.0005, None, 10.0)
    }
    assert {rule_of(spec).feedback for spec in specs.values()} == {"labels"}
    if name == "cma":  # section 4.4 has a start of its own
        assert {spec.start.kind for spec in specs.values()} == {"near_backprop"}
    else:
        assert not any(rule_of(spec).single_state_synapses for spec in specs.values())
        assert "random" in {spec.start.kind for spec in specs.values()}


def test_the_recipe_as_printed_is_run_whole_and_with_one_change_each():
    found = plan("recipe", "paper")
    printed = found.specs["as printed", 0]
    as_printed(printed, meta_steps=90_000, genomes=8)
    assert (printed.start.kind, printed.training.replace, printed.training.validate_every) == ("random", 7, 10_000)
    assert printed.rule == load_experiment("paper_gradient").rule
    for (label, _), spec in found.specs.items():
        assert label == "as printed" or spec.training.meta_steps == 10_000
        parts = ("rule", "start", "unroll", "problems")
        differ = [part for part in parts if getattr(spec, part) != getattr(printed, part)]
        differ += ["rate"] if spec.training.learning_rate != printed.training.learning_rate else []
        # an average needs a gate of another size
        assert len(differ) == {"as printed": 0, "updates averaged, gate 0.1": 2}.get(label, 1)


def test_laptop_scale_has_the_same_variants_where_two_cores_go():
    for name in ("updates", "variants", "synapse_normalization", "depth", "cma"):
        laptop, paper = (plan(name, scale) for scale in ("laptop", "paper"))
        assert laptop.labels == paper.labels
        assert laptop.hours < 0.5 < 2 < paper.hours


def test_plans_are_told(tmp_path):
    found = CliRunner().invoke(command, ["updates", "--scale", "paper", "--plan", "--out", str(tmp_path / "nothing")])
    assert found.exit_code == 0, found.exception
    assert found.output.startswith("updates: 192 meta-training runs of 24 variants, 10,000 meta-steps each; about ")
    assert "  second state, asymmetric, multi, random" in found.output.splitlines()
    assert not (tmp_path / "nothing").exists()
    data = json.loads(CliRunner().invoke(command, ["transfer", "--plan", "--json"]).output)
    assert data["transfer"]["hours"] is None  # irregular graphs
    assert math.isnan(plan("transfer", "laptop").hours)
    with pytest.raises(ExperimentError, match="scale: got 'smoke'; allowed: laptop, paper"):
        plan("updates", "smoke")
    with pytest.raises(ExperimentError, match="transfer sets rule, start or rates itself"):
        plan("transfer", "paper", "printed")
