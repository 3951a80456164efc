"""Shared and fixed synapses: convolutions, identity skips and pooling equal their textbook forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import neurograph as ng
from neurograph.testing.comparing import relative, relative_norm, steps

RATE = 0.05


class Grid:
    """Places of a population's neurons: [*shape] -> neuron index."""

    def __init__(self, topology: ng.Topology, population: str):
        number = topology.population_names.index(population)
        members = np.flatnonzero(topology.population == number)
        self.shape = topology.population_shapes[number]
        self.index = members.reshape(self.shape)
        self.place = {int(i): place for place, i in np.ndenumerate(self.index)}


def kernel_of(topology, source: str, target: str, values: np.ndarray, size: int, stride: int, pad: int) -> np.ndarray:
    """[size, size, in, out] from one number per synapse, by geometry alone; members of a place must agree."""
    a, b = Grid(topology, source), Grid(topology, target)
    found: dict[tuple, set] = {}
    for e, (i, j) in enumerate(zip(topology.senders.tolist(), topology.receivers.tolist())):
        if i in a.place and j in b.place:
            (row, column, c_in), (out_row, out_column, c_out) = a.place[i], b.place[j]
            place = (row + pad - stride * out_row, column + pad - stride * out_column, c_in, c_out)
            found.setdefault(place, set()).add(float(values[e]))
    out = np.full((size, size, a.shape[2], b.shape[2]), np.nan)
    for place, numbers in found.items():
        assert len(numbers) == 1, place
        out[place] = numbers.pop()
    assert np.isfinite(out).all()
    return out


def test_a_shared_convolution_is_lax_conv(kernel, x64):
    topology = ng.build_topology(
        {
            "populations": {"image": [6, 6, 2], "one": [6, 6, 3], "two": [2, 2, 4], "out": 3},
            "inputs": "image",
            "outputs": "out",
            "connections": [
                {"kind": "convolution", "from": "image", "to": "one", "kernel": 3, "padding": "same"},
                {"kind": "convolution", "from": "one", "to": "two", "kernel": 3, "stride": 2, "padding": "valid"},
                {"kind": "dense", "from": "two", "to": "out"},
            ],
        }
    )
    genome, rule = ng.backprop_genome(RATE, loss="softmax_cross_entropy")
    network = ng.Network(topology, rule, kernel=kernel)
    arrays = jax.device_get(network.unpack(network.init(genome, key=jax.random.key(0))))
    arrays = {name: arrays[name] for name in ("forward", "bias")}
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(10, 3, 6, 6, 2))
    ys = 2 * np.eye(3)[rng.integers(3, size=(10, 3))] - 1

    def parameters(arrays):
        w, b = arrays["forward"][:, 0], arrays["bias"][:, 0]
        two, out = Grid(topology, "two"), Grid(topology, "out")
        dense = np.zeros((two.index.size, 3))
        for e, (i, j) in enumerate(zip(topology.senders.tolist(), topology.receivers.tolist())):
            if i in two.place:
                dense[np.ravel_multi_index(two.place[i], two.shape), out.place[j][0]] = w[e]
        biases = {name: b[Grid(topology, name).index] for name in ("one", "two", "out")}
        for name in ("one", "two"):  # one bias per channel
            assert (biases[name] == biases[name][0, 0]).all()
            biases[name] = biases[name][0, 0]
        one = kernel_of(topology, "image", "one", w, 3, 1, 1)
        return {"one": one, "two": kernel_of(topology, "one", "two", w, 3, 2, 0), "dense": dense, "bias": biases}

    def loss(p, x, y):
        def convolve(x, w, stride, padding):
            return jax.lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

        h = jnp.tanh(convolve(x, p["one"], 1, "SAME") + p["bias"]["one"])
        h = jnp.tanh(convolve(h, p["two"], 2, "VALID") + p["bias"]["two"])
        h = h.reshape(len(x), -1) @ p["dense"] + p["bias"]["out"]
        return -jnp.sum((y + 1) / 2 * jax.nn.log_softmax(h, axis=1))

    gradient = jax.jit(jax.grad(loss))
    start = theirs = parameters(arrays)
    first = None
    for x, y in zip(xs, ys):
        update = jax.tree.map(lambda g: -RATE * g, gradient(theirs, x, y))
        theirs, first = jax.tree.map(jnp.add, theirs, update), first or update
    flat = lambda tree: np.asarray(ravel_pytree(tree)[0])  # noqa: E731
    xs = xs.reshape(10, 3, -1)
    ours = jax.device_get(steps(network, genome.replace(synapse_keep=0.0), arrays, xs, ys))
    assert relative_norm(flat(parameters({name: ours[name][0] for name in arrays})), flat(first)) < 1e-12
    ours = jax.device_get(steps(network, genome, arrays, xs, ys))
    change = flat(parameters({name: ours[name][-1] for name in arrays})) - flat(start)
    assert relative_norm(change, flat(theirs) - flat(start)) < 1e-8


def test_a_fixed_identity_skip_is_x_plus_f(kernel, x64):
    topology = ng.build_topology(
        {
            "populations": {"x": 4, "inner": 6, "y": 4},
            "inputs": "x",
            "outputs": "y",
            "connections": [{"kind": "residual", "from": "x", "through": ["inner"], "to": "y"}],
        }
    )
    genome, rule = ng.backprop_genome(activation="tanh", output_activation="identity")
    network = ng.Network(topology, rule, kernel=kernel)
    synapses = network.init(genome.replace(initial_deviation=1.0), key=jax.random.key(1))
    arrays = network.unpack(synapses)
    w = np.zeros((14, 14))
    w[topology.senders, topology.receivers] = arrays["forward"][:, 0]
    b = np.asarray(arrays["bias"][:, 0])
    x = np.random.default_rng(0).normal(size=(5, 4))
    f = np.tanh(x @ w[:4, 4:10] + b[4:10]) @ w[4:10, 10:] + b[10:]
    assert (w[:4, 10:] == np.eye(4)).all()
    assert relative(network.predict(genome, synapses, x), x + f) < 1e-14


def test_average_pooling_as_fixed_synapses_is_the_mean_of_windows(kernel, x64):
    topology = ng.build_topology(
        {
            "populations": {"image": [4, 6, 2], "pooled": {"shape": [2, 3, 2], "bias": False}, "learned": 1},
            "inputs": "image",
            "outputs": ["pooled", "learned"],
            "connections": [
                {"kind": "average_pool", "from": "image", "to": "pooled", "window": 2},
                {"kind": "dense", "from": "image", "to": "learned"},
            ],
        }
    )
    genome, rule = ng.backprop_genome()
    network = ng.Network(topology, rule, kernel=kernel)
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 2))
    window = (1, 2, 2, 1)
    pooled = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "VALID") / 4
    synapses = network.init(genome, key=jax.random.key(0))
    ours = network.predict(genome, synapses, x.reshape(3, -1))
    assert relative(ours[:, :12], pooled.reshape(3, -1)) < 1e-14
    learned, _ = network.step(genome, synapses, x.reshape(3, -1), np.ones((3, 13)))
    before, after = (network.unpack(s)["forward"][:, 0] for s in (synapses, learned))
    assert (np.asarray(after)[topology.fixed] == 0.25).all()
    assert (np.asarray(before != after) == ~topology.fixed).all()
