"""Extending, averaging and comparing genomes: what must behave the same does, on random rules and graphs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.genome import canonical_genome, compare_genomes
from neurograph.testing import random_genome, rules
from neurograph.testing.comparing import relative, steps
from neurograph.testing.graphs import batch, random_synapses, random_topology, small

FEW = settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
OUTSIDE = ("states.forward", "states.feedback", "states.backward")


def scrambled(genome: ng.Genome, rule: ng.Rule, order: list[int], seed: int) -> ng.Genome:
    """The same behaviour under other numbers: states renamed, and whatever the rule leaves free multiplied away."""
    rng = np.random.default_rng(seed)
    a = {name: np.asarray(value) for name, value in genome.to_dict().items()}
    for name, value in a.items():
        if value.ndim == 2:
            a[name] = value[order][:, order]
        elif value.ndim == 1:
            a[name] = value[order]
    factor = 1.0 if rule.bias_after_normalization else rng.uniform(0.5, 2) * rng.choice([-1, 1])
    a["neuron_update"] = a["neuron_update"] * factor
    for name in ("forward_transform", *(["backward_transform"] if rule.backward_update == "additive" else [])):
        a[name] = a[name] / factor
    for prefix in ("", "forward_"):
        scale = rng.choice([-1.0, 1.0], len(order)) * (1 if rule.oja == "activity" else rng.uniform(0.5, 2, len(order)))
        a[f"{prefix}pre_transform"] = a[f"{prefix}pre_transform"] * scale
        a[f"{prefix}post_transform"] = a[f"{prefix}post_transform"] / scale[:, None]
        if rule.oja not in ("weights", "activity") and rule.update_normalization == "none":
            factor = rng.uniform(0.5, 2) * rng.choice([-1, 1])
            a[f"{prefix}synapse_update"] = a[f"{prefix}synapse_update"] * factor
            a[f"{prefix}post_transform"] = a[f"{prefix}post_transform"] / factor
    return ng.Genome.from_arrays(**{name: jnp.asarray(value) for name, value in a.items()})


def check_a_rule(case) -> None:
    topology, rule, seed = case
    rule, k = rule.replace(states=4), 4
    network, genome = ng.Network(topology, rule), random_genome(k, seed)
    w = random_synapses(topology, k, seed, single=rule.single_state_synapses)
    x, y = batch(topology, seed=seed)
    xs, ys = np.stack([x, -x]), np.stack([y, y])
    carried = np.random.default_rng(seed).normal(0, 0.5, (len(x), topology.num_neurons, k + 1))

    def run(network, genome, w, states=(0, 1, 2, 3)):
        given = {"backward": None if rule.symmetric else w["backward"]}
        given |= {} if rule.reset_states else {"neurons": carried[..., list(states)]}
        return jax.device_get(steps(network, genome, w | given, xs, ys))

    plain = run(network, genome, w)

    def equal(found, order=(0, 1, 2, 3)):
        for name in ("outputs", *OUTSIDE, "forward", "backward", "bias"):
            value = found[name] if name == "outputs" else found[name][..., list(order)]
            assert relative(value, plain[name]) < 1e-8, name

    equal(run(network, canonical_genome(genome, rule), w))
    order = [0, 1, 3, 2]
    other = scrambled(genome, rule, order, seed)
    equal(run(network, other, {name: value[:, order] for name, value in w.items()}, order), order)
    found = compare_genomes(genome, other, rule)
    assert found.relative < 1e-12
    assert found.unaligned > 1e-3
    assert compare_genomes(ng.average_genomes([genome, other, other], rule), genome, rule).relative < 1e-12

    wider, wide_rule = ng.extend_genome(genome, rule, noise=0.7, key=jax.random.key(seed))
    assert float(jnp.abs(wider.forward_transform[4]).min()) > 0  # the new state is alive
    more = random_synapses(topology, k + 1, seed + 1, single=rule.single_state_synapses)
    for name, value in more.items():
        value[:, :k] = w[name]
        if rule.single_state_synapses:
            value[:, k] = w[name][:, 0]
    equal(run(ng.Network(topology, wide_rule), wider, more, range(5)))


@st.composite
def cases(draw: st.DrawFn):
    seed, cyclic = draw(st.integers(0, 2**31)), draw(st.booleans())
    fields = {"cyclic": True, "schedule": "mixed", "ticks": 2, "max_hidden": 2} if cyclic else {}
    topology = random_topology(seed, fixed=draw(st.booleans()), **fields)
    return topology, draw(rules(len(topology.outputs))), seed


@pytest.mark.thorough
@pytest.mark.usefixtures("x64")
@FEW
@given(case=cases())
def test_what_must_behave_the_same_does(case):
    check_a_rule(case)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@MANY
@given(case=cases())
def test_what_must_behave_the_same_does_on_many_rules(case):
    check_a_rule(case)


@pytest.mark.usefixtures("x64")
def test_the_update_gate_counts_where_biases_take_nu_without_it():
    """Scaling eta against nu and mu then changes what a network does, so two such genomes are told apart."""
    topology, (x, y) = small(), batch(small())
    rule, genome = ng.Rule(normalization="batch", bias_after_normalization=True), random_genome(2, 0)
    arrays = random_synapses(topology, 2, 0) | {"backward": None}
    scaled = {name: getattr(genome, name) / 2 for name in ("forward_transform", "backward_transform")}
    genomes = genome, canonical_genome(genome, rule), genome.replace(**scaled, neuron_update=2 * genome.neuron_update)
    network = ng.Network(topology, rule)
    plain, canonical, other = (steps(network, one, arrays, x[None], y[None])["forward"] for one in genomes)
    assert relative(canonical, plain) < 1e-12
    assert relative(other, plain) > 1e-4
    assert compare_genomes(genome, genomes[2], rule).relative > 0.1


# ---- extend


@pytest.mark.thorough
def test_a_network_that_learned_goes_on_with_more_states():
    """From a file, through `extend_synapses`, with noise injected by the rule, and states that carry over."""
    topology = small()
    rule = ng.Rule(symmetric=False, noise=0.1, reset_states=False, forward_activation=ng.with_derivative("tanh"))
    genome = random_genome(2, 0)
    network, (x, y) = ng.Network(topology, rule), batch(topology)
    synapses = network.init(genome, key=jax.random.key(0))
    synapses, _ = network.unroll(genome, synapses, np.stack([x, x]), np.stack([y, y]), key=jax.random.key(1))
    wider, wide_rule = ng.extend_genome(ng.GenomeFile(genome, rule, {}), states=4, noise=0.3, key=jax.random.key(2))
    wide = ng.Network(topology, wide_rule)
    more = ng.extend_synapses(network, wide, synapses, wider, key=jax.random.key(3))
    old = network.trace(genome, synapses, x, y, index=2, key=jax.random.key(4))
    new = wide.trace(wider, more, x, y, index=2, key=jax.random.key(4))
    assert relative(new.outputs, old.outputs) < 1e-5
    assert relative(new.backward[..., :2], old.backward) < 1e-5
    before, after = network.unpack(old.synapses), wide.unpack(new.synapses)
    assert all(relative(after[name][:, :2], before[name]) < 1e-5 for name in before)
    assert float(jnp.abs(after["forward"][:, 2:]).min()) > 0


def test_layers_are_extended_alike():
    genome = ng.LayeredGenome.from_genomes({n: random_genome(2, i) for i, n in enumerate(("input", "hidden", "output"))}, "role")
    rule, topology = ng.Rule(normalization="batch"), small()
    wider, wide_rule = ng.extend_genome(genome, rule, noise=0.5, key=jax.random.key(0))
    assert (wider.states, wider.names, wide_rule.states) == (3, genome.names, 3)
    x, y = batch(topology)
    w = random_synapses(topology, 3, 0)
    narrow = steps(ng.Network(topology, rule), genome, {n: w[n][:, :2] for n in ("forward", "bias")}, x[None], y[None])
    wide = steps(ng.Network(topology, wide_rule), wider, {n: w[n] for n in ("forward", "bias")}, x[None], y[None])
    assert relative(wide["states.backward"][..., :2], narrow["states.backward"]) < 1e-5
    assert relative(wide["forward"][..., :2], narrow["forward"]) < 1e-5


def test_a_gradient_finds_the_new_state_only_with_noise():
    """Without noise the new state stays at rest, and what reads it has no derivative; with noise it has."""
    topology, rule = small(), ng.Rule(forward_activation="tanh", backward_activation="tanh")
    x, y = batch(topology)
    slopes = []
    for noise in (0.0, 0.5):
        wider, wide_rule = ng.extend_genome(random_genome(2, 0), rule, noise=noise, key=jax.random.key(0))
        network = ng.Network(topology, wide_rule)
        synapses = network.init(wider, key=jax.random.key(1))
        loss = lambda g, n=network, s=synapses: jnp.mean((n.predict(g, n.step(g, s, x, y)[0], x) - y) ** 2)  # noqa: E731
        slopes.append(float(jnp.abs(jax.grad(loss)(wider).post_transform[:2, 2]).max()))
    assert slopes[0] == 0
    assert slopes[1] > 1e-6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"rule": None}, "rule: the genome comes without one; expected the rule that it was learned under"),
        ({"rule": ng.Rule(states=3)}, "rule: has states: 3; the genome has 2"),
        ({"states": 2}, "states: got 2; expected an integer above the genome's 2"),
        ({"states": 2.5}, "states: got 2.5; expected an integer above the genome's 2"),
        ({"noise": -1}, "noise: got -1; expected a finite number >= 0"),
        ({"noise": 0.1}, "key: noise is drawn from a PRNG key; expected key=jax.random.key(...)"),
        (
            {"rule": ng.Rule(forward_activation=lambda x: x / (1 + jnp.sum(x**2, axis=0)))},
            "the genome cannot behave as before with more states:\nforward_activation: <function",
        ),
    ],
)
def test_extensions_that_are_refused(arguments, expected):
    with pytest.raises(ng.GenomeError) as error:
        ng.extend_genome(ng.Genome.from_arrays(), **({"rule": ng.Rule()} | arguments))
    assert str(error.value).startswith(expected)


def test_injected_noise_needs_draws_that_begin_alike():
    before = jax.config.jax_threefry_partitionable
    try:
        jax.config.update("jax_threefry_partitionable", False)
        with pytest.raises(ng.GenomeError, match=r"noise: 0\.1 is drawn differently for another number of states"):
            ng.extend_genome(ng.Genome.from_arrays(), ng.Rule(noise=0.1))
        assert ng.extend_genome(ng.Genome.from_arrays(), ng.Rule())[1].states == 3
    finally:
        jax.config.update("jax_threefry_partitionable", before)


# ---- compare


def test_distances_are_those_of_the_arrays():
    a = ng.Genome.from_arrays(forward_transform=np.eye(3))
    b = a.replace(forward_transform=a.forward_transform.at[2, 1].set(0.3), neuron_keep=0.6)
    found = compare_genomes(a, b)
    assert found.distance == pytest.approx(0.5)
    assert found.arrays["forward_transform"] == pytest.approx({"distance": 0.3, "relative": 0.3 / 3.09**0.5, "largest": 0.3})
    assert found.arrays["neuron_keep"]["distance"] == pytest.approx(0.4)
    assert found.arrays["saturation"]["distance"] == 0
    assert compare_genomes(a, b, ng.Rule(states=3)).distance == pytest.approx(0.5)
    assert "saturation" not in compare_genomes(a, b, ng.Rule(states=3)).arrays


@pytest.mark.parametrize(("states", "exhaustive"), [(6, True), (11, False)])
def test_renamed_states_are_found(states, exhaustive):
    genome = random_genome(states, 0)
    order = [0, 1, *np.random.default_rng(1).permutation(np.arange(2, states)).tolist()]
    rule = ng.Rule(states=states)
    found = compare_genomes(scrambled(genome, rule, order, 2), genome, rule)
    assert list(found.permutation) == order
    assert (found.exhaustive, found.relative < 1e-6) == (exhaustive, True)


def test_layers_compare_under_one_renaming():
    genomes = {name: random_genome(4, i) for i, name in enumerate(("input", "hidden", "output"))}
    order = [0, 1, 3, 2]

    def renamed(genome):
        arrays = {n: np.asarray(v) for n, v in genome.to_dict().items()}
        arrays = {n: v[order][:, order] if v.ndim == 2 else v[order] if v.ndim else v for n, v in arrays.items()}
        return ng.Genome.from_arrays(**arrays)

    first = ng.LayeredGenome.from_genomes(genomes, "role")
    second = ng.LayeredGenome.from_genomes({name: renamed(genome) for name, genome in genomes.items()}, "role")
    rule = ng.Rule(states=4)
    found = compare_genomes(first, second, rule)
    assert (found.distance, found.permutation) == (0, (0, 1, 3, 2))
    moved = second.replace(hidden=second.layers["hidden"].replace(neuron_keep=second.layers["hidden"].neuron_keep + 0.5))
    rows = compare_genomes(first, moved, rule).arrays
    assert [name for name, row in rows.items() if row["distance"] > 0] == ["hidden: neuron_keep"]
    assert ng.average_genomes([first, second], rule).names == first.names
    assert compare_genomes(ng.average_genomes([first, second], rule), first, rule).relative < 1e-7


def test_comparisons_that_are_refused():
    two, three = random_genome(2, 0), random_genome(3, 0)
    with pytest.raises(ng.GenomeError, match="genomes: got states 2 and 3; expected equal"):
        compare_genomes(two, three)
    with pytest.raises(ng.GenomeError, match="rule: got states 3 and 2; expected equal"):
        compare_genomes(three, three, ng.Rule())
    with pytest.raises(ng.GenomeError, match=r"genomes: got layers None and \('role'"):
        compare_genomes(two, ng.LayeredGenome.repeat(two, "role"))


# ---- average


def test_averages():
    a, b = random_genome(3, 0), random_genome(3, 1)
    mean = ng.average_genomes([a, b], weights=[3, 1])
    np.testing.assert_allclose(mean.forward_transform, (3 * a.forward_transform + b.forward_transform) / 4, rtol=1e-6)
    np.testing.assert_allclose(mean.synapse_update, (3 * a.synapse_update + b.synapse_update) / 4, rtol=1e-6)
    for weights in ([1], [0, 0], [1, -1], [1, np.nan]):
        with pytest.raises(ng.GenomeError, match=r"weights: got .*; expected 2 numbers >= 0, not all 0"):
            ng.average_genomes([a, b], weights=weights)
    with pytest.raises(ng.GenomeError, match="genomes: got none"):
        ng.average_genomes([])


# ---- text and picture


def test_text_names_every_number_that_counts():
    rule = ng.Rule(states=3, normalization="batch", symmetric=False)
    text = ng.format_genome(random_genome(3, 0), rule)
    assert "rule   symmetric: false, normalization: batch" in text
    for part in ("ν  forward_transform", "μ~  post_transform", "f neuron_keep = ", "η~ synapse_update = ", "forward_scale"):
        assert part in text
    assert "oja_multiplier" not in text
    assert "keep_gating" not in text
    gates = ng.format_genome(random_genome(3, 0), ng.Rule(states=3, self_gating=True))
    assert "F  keep_gating" in gates
    assert "H  update_gating" in gates
    assert "oja_multiplier" in ng.format_genome(random_genome(3, 0), rule, everything=True)
    rows = [line for line in text.splitlines() if line.count(".") == 12 and "=" not in line]
    assert len(rows) == 3  # four matrices of three rows side by side
    assert len({len(line) for line in ng.format_genome(random_genome(3, 0), rule, width=30).splitlines() if line[:1] == "ν"}) == 2
    layers = ng.format_genome(ng.LayeredGenome.repeat(random_genome(2, 0), "depth", 3))
    assert layers.startswith("states 2; 3 genomes, one per layer by depth: 0, 1, 2\n")
    assert layers.count("== ") == 3


@pytest.mark.thorough
def test_picture(tmp_path):
    from neurograph.report.figures.genome import draw_genome, genome_picture

    rule = ng.Rule(states=3, normalization="batch", single_state_synapses=True, self_gating=True)
    genome = random_genome(3, 0)
    figure = genome_picture(genome, rule, title="a genome")
    axes = [axis for part in figure.subfigs for axis in part.axes]
    assert [len(axis.texts) for axis in axes] == [9, 9, 9, 9, 9, 9, 12]
    assert axes[0].texts[1].get_text() == f"{float(genome.forward_transform[0, 1]):.2f}"
    for ending in (".png", ".svg"):
        assert draw_genome(ng.LayeredGenome.repeat(genome, "role"), tmp_path / f"g{ending}", rule).stat().st_size > 1000
    with pytest.raises(ng.GenomeError, match=r"the ending '\.bmp' is not known; allowed: \.png, \.pdf, \.svg"):
        draw_genome(genome, tmp_path / "g.bmp")
