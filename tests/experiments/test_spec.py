"""What an experiment file means: methods, the curriculum, validation data."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from meta_runs import genome_of

import neurograph as ng
from neurograph.cli import COMMANDS
from neurograph.experiments.experiment import Experiment
from neurograph.experiments.folder.reading import Run
from neurograph.experiments.spec import METHODS, ExperimentSpec, UnrollSpec, dump_experiment, load_experiment
from neurograph.experiments.train import meta_train

PROBLEM = {"task": "xor", "topology": "mlp_2d_classes"}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_builds_its_optimizer_and_knows_its_command(method: str):
    spec = ExperimentSpec.model_validate({"problems": [PROBLEM], "training": {"method": method}})
    optimizer = spec.training.optimizer(ng.Rule(), spec.seed)
    assert all(callable(getattr(optimizer, name)) for name in ("init", "advance", "genomes"))
    run = Run(Path("run"), config=spec.model_dump(mode="json"))
    assert run.evolved is spec.training.evolved is (method in ("cma", "es"))
    assert run.command == ("meta-train" if method == "gradient" else "evolve")
    assert run.command in COMMANDS


def test_fields_and_scales_of_a_search_reach_its_optimizer():
    training = {"fields": ["synapse_update"], "scales": {"synapse_update": 0.5}, "population": 6, "sigma": 0.2}
    for method in ("pes", "cma", "es"):
        spec = ExperimentSpec.model_validate({"problems": [PROBLEM], "training": {"method": method, **training}})
        optimizer = spec.training.optimizer(ng.Rule(), 7)
        assert (optimizer.fields, optimizer.scales) == (("synapse_update",), (("synapse_update", 0.5),))
        assert (optimizer.population, optimizer.sigma) == (6, 0.2)


def test_a_curriculum_grows_at_the_meta_steps_that_it_says():
    unroll = UnrollSpec(steps=3, grow_by=2, grow_every=4, max_steps=8)
    assert [unroll.length(step) for step in range(14)] == [3] * 4 + [5] * 4 + [7] * 4 + [8] * 2
    assert [UnrollSpec(steps=3).length(step) for step in (0, 1, 1000)] == [3, 3, 3]


def test_lengths_are_drawn_evenly_on_a_logarithmic_scale_from_the_seed_alone():
    unroll = UnrollSpec(steps=200, least_steps=5)
    lengths = np.array([unroll.drawn_length(step, 3) for step in range(4000)])
    assert (lengths.min(), lengths.max()) == (5, 200)
    assert np.mean(lengths < 32) == pytest.approx(np.log(32 / 5) / np.log(201 / 5), abs=0.03)
    assert lengths[7] == unroll.drawn_length(7, 3)
    assert [unroll.drawn_length(step, 4) for step in range(20)] != lengths[:20].tolist()
    growing = UnrollSpec(steps=4, least_steps=4, grow_by=4, grow_every=10, max_steps=8)
    assert {growing.drawn_length(step, 0) for step in range(10)} == {4}
    assert {growing.drawn_length(step, 0) for step in range(10, 100)} == {4, 5, 6, 7, 8}
    assert UnrollSpec(steps=9).drawn_length(5, 0) == 9


RANDOM = """
problems:
  - task: xor
    topology:
      random:
        families:
          - {family: layered, depth: [1, 2]}
          - small_world
        graphs: 3
unroll: {steps: 20}
"""


def test_random_graphs_are_read_in_the_words_of_topology_sample(tmp_path: Path):
    path = tmp_path / "random.yaml"
    path.write_text(RANDOM)
    spec = load_experiment(path)
    drawn = spec.problems[0].topology
    assert drawn.random.graphs == 3
    assert [family.name for family in drawn.random.families] == ["layered", "small_world"]
    assert drawn.random.families[0].depth == (1, 2)
    assert str(drawn) == "random (layered, small_world)"
    path.write_text(dump_experiment(spec))
    assert load_experiment(path) == spec
    every = ExperimentSpec.model_validate({"problems": [{"task": "xor", "topology": {"random": None}}]})
    assert every.problems[0].topology.random.families is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "depth",
            "detph",
            r":7:31 at problems\[0\]\.topology\.random\.families\[0\]\.detph: unknown key for family 'layered'; did",
        ),
        ("[1, 2]", "[3, 2]", r":7:38 at .*families\[0\]\.depth: got a list; expected \[least, most\]; 3 is more than 2"),
        ("small_world", "smallworld", r":8:13 at .*families\[1\]: got 'smallworld'; did you mean 'small_world'\?"),
        ("small_world", "3", r":8:13 at .*families\[1\]: got 3; expected the name of a family, or a mapping"),
        ("graphs: 3", "graps: 3", r":9:9 at problems\[0\]\.topology\.random\.graps: unknown key; did you mean 'graphs'\?"),
        ("random:", "rando:", r"at problems\[0\]\.topology: missing key `random`"),
        ("steps: 20", "steps: 20, least_steps: 30", "least_steps: 30 is more than steps: 20"),
        ("steps: 20", "steps: 20, least_steps: 5, truncation: 5", "least_steps: does not go with truncation"),
        ("steps: 20", "steps: 20, judged_at: [5, 2]", r"judged_at: got \[5, 2\]; expected ascending step counts up to 20"),
        ("steps: 20", "steps: 20, judged_at: [5], loss: steps", "judged_at: says which queries count, and so does loss: steps"),
        ("steps: 20", "steps: 20, judged_at: [5], truncation: 5", "judged_at: does not go with truncation"),
    ],
)
def test_faults_of_random_graphs_and_lengths_have_their_lines(old: str, new: str, message: str, tmp_path: Path):
    path = tmp_path / "random.yaml"
    path.write_text(RANDOM.replace(old, new))
    with pytest.raises(ng.SpecError, match=message):
        load_experiment(path)


def test_what_is_no_topology_and_what_has_too_few_graphs_is_named(tmp_path: Path):
    path = tmp_path / "random.yaml"
    path.write_text("problems: [{task: xor, topology: 3}]")
    allowed = r"a file, the name of a topology, layer widths such as 2-20-2, or \{random: \.\.\.\}"
    with pytest.raises(ng.SpecError, match=rf"topology: got 3; expected {allowed}"):
        load_experiment(path)
    path.write_text(RANDOM.replace("graphs: 3", "validation_graphs: 1"))
    where = r"problems\[0\]\.topology\.random\.validation_graphs: got 1 graphs; expected at least 2, one for each size class"
    with pytest.raises(ng.ExperimentError, match=where):
        Experiment(load_experiment(path))


@pytest.mark.thorough
def test_the_example_of_the_page_trains(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs/howto/graphs_as_data.md").read_text(encoding="utf-8")
    path = tmp_path / "many.yaml"
    path.write_text(page.partition("```yaml\nname: many-graphs\n")[2].partition("```")[0])
    small = ("problems.0.topology.random.graphs=2", "problems.0.topology.random.validation_graphs=2", "unroll.batch_size=16")
    small += (
        "unroll.steps=5",
        "unroll.judged_at=[5]",
        "training={method: cma, population: 2, meta_steps: 1, validation_episodes: 1}",
    )
    load_experiment(path)
    genome, _ = meta_train(load_experiment(path, small), tmp_path / "run")
    assert np.isfinite(genome.forward_transform).all()
    card = ng.load_genome_file(tmp_path / "run/genome.json").card
    assert card["topologies"] == ["mlp", "random (layered, acyclic, small_world)"]


def test_validation_graphs_are_other_ones_of_the_same_classes(tmp_path: Path):
    path = tmp_path / "random.yaml"
    path.write_text(RANDOM.replace("- {family: layered, depth: [1, 2]}", "- acyclic").replace("- small_world", "- scale_free"))
    experiment = Experiment(load_experiment(path))
    (train,), (judge,) = experiment.objective.problems, experiment.validation.problems
    assert train.networks.classes == judge.networks.classes
    assert len(judge.graphs) == 8
    assert not {g.digest for g in judge.networks.draw(0)} & {g.digest for n in range(9) for g in train.networks.draw(n)}


def test_validation_is_judged_on_validation_rows_after_learning_from_training_rows():
    problem = {"task": "digits", "topology": "mlp"}
    unroll = {"steps": 2, "batch_size": 16, "query_size": 64}
    experiment = Experiment(ExperimentSpec.model_validate({"problems": [problem], "unroll": unroll}))
    task = experiment.validation.problems[0].task
    rows = {split: {row.tobytes() for row in np.asarray(task.arrays(split)[0])} for split in ("train", "validation")}
    assert not rows["train"] & rows["validation"]
    for objective, judged_on in ((experiment.objective, "train"), (experiment.validation, "validation")):
        episode, _ = objective._episode(0, 0, jax.random.key(0))
        assert {row.tobytes() for row in np.asarray(episode.query.x)} <= rows[judged_on]
        assert {row.tobytes() for batch in np.asarray(episode.support.x) for row in batch} <= rows["train"]


def test_a_file_that_says_only_problems_has_the_rule_and_start_of_the_shipped_recipe(tmp_path):
    path, digits = tmp_path / "mine.yaml", load_experiment("digits")
    path.write_text("problems: [{task: digits, topology: 64-32-10}]")
    plain = load_experiment(path)
    assert (plain.rule, plain.start) == (digits.rule, digits.start)
    assert load_experiment(path, ("rule.states=2",)).rule == digits.rule | {"states": 2}
    assert load_experiment(path, ("start.genome=universal",)).rule == {}  # that of the genome
    kept = tmp_path / "config.yaml"
    kept.write_text(dump_experiment(plain))
    assert load_experiment(kept).model_dump() == plain.model_dump()
    for more in ("rule: {}", "start: {kind: random}"):
        path.write_text(f"problems: [{{task: digits, topology: 64-32-10}}]\n{more}")
        assert load_experiment(path).rule == {}


@pytest.mark.thorough
def test_a_run_that_began_without_the_recipe_goes_on_without_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "problems: [{task: xor, topology: 2-4-2}]\n"
        "unroll: {steps: 1, batch_size: 8, query_size: 16}\n"
        "training: {method: es, population: 4, meta_steps: 4, validate_every: 2, validation_episodes: 1}\n"
    )
    plain = path.with_name("plain.yaml")
    plain.write_text(path.read_text() + "rule: {}\n")  # what the file meant
    for folder in ("stopped", "whole"):
        meta_train(load_experiment(plain, ("training.meta_steps=2",) if folder == "stopped" else ()), tmp_path / folder)
    longer = load_experiment(path)
    assert longer.rule
    meta_train(longer, tmp_path / "stopped", resume=True)
    assert genome_of(tmp_path / "stopped") == genome_of(tmp_path / "whole")
    meta_train(longer, tmp_path / "new")
    assert genome_of(tmp_path / "new") != genome_of(tmp_path / "whole")
    assert longer.as_begun(longer.model_dump(mode="json")) is longer.as_begun({}) is longer


@pytest.mark.thorough
def test_a_file_that_says_only_problems_learns(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("problems: [{task: digits, topology: 64-32-10}]")
    meta_train(load_experiment(path, ("training.meta_steps=60",)), tmp_path / "run")
    assert json.loads((tmp_path / "run/summary.json").read_text())["validation"]["accuracy"][0] > 0.5  # chance is 0.1
