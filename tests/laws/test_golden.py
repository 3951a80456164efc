"""The numbers of the authors' own published code, on the layered networks that it can express.

Their layout and ours differ (square matrices with a bias row; species and replica axes; transposed nu and mu); the mathematics
must not. Oja by weights with asymmetric synapses sums over unused parts of their matrices: those rows are taken out here.
"""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
from neurograph.testing.comparing import relative, steps

HERE = Path(__file__).parents[1] / "golden"
CONFIGS = json.loads((HERE / "index.json").read_text())


class Layered:
    """One fixture: its topology, rule and genome in our terms, and the conversion of its matrices."""

    def __init__(self, file: str, kernel: str, dtype: str):
        self.config, self.dtype = CONFIGS[file], dtype
        with np.load(HERE / file) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        sizes = self.config["sizes"]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        pairs = [
            (self.starts[i] + a, self.starts[i + 1] + b)
            for i in range(len(sizes) - 1)
            for a in range(sizes[i])
            for b in range(sizes[i + 1])
        ]
        senders, receivers = np.array(pairs).T
        n = self.starts[-1]
        topology = ng.Topology(
            tuple(f"n{i}" for i in range(n)), senders, receivers, np.arange(sizes[0]), np.arange(n - sizes[-1], n)
        )
        self.rule = self._rule()
        self.genome = self._genome()
        self.network = ng.Network(topology, self.rule, kernel=kernel)

    def _rule(self) -> ng.Rule:
        c = self.config
        oja, norm = c["ojas"], c["normalization"]
        names = {"sigmoid_with_grad": ng.with_derivative("sigmoid")}
        return ng.Rule(
            states=c["k"],
            forward_activation=names.get(c["forward_activation"], c["forward_activation"]),
            backward_activation=c["backward_activation"],
            output_activation=c["last_layer_activation"],
            backward_update=c["backward_update"],
            symmetric=c["symmetric_in_out_synapses"],
            single_state_synapses=c["symmetric_states_synapses"],
            feedback={"concat_groundtruth_in": "labels", "mse_grad": "mse"}[c["feedback"]],
            hebbian_pre="forward" if c["use_forward_activations_for_synapse_update"] else "backward",
            forward_synapse_update=c["forward_synapse_update"],
            oja="none" if oja is None else "weights" if oja["use_synapse_weights"] else "activity",
            oja_scale=1.0 if oja is None else oja["extra_multiplier"],
            synapse_normalization="none" if norm is None else "stored" if norm["normalize_synapses"] else "in_pass",
            rescale=bool(norm and norm["rescale"]),
            saturation={None: "none", "exp_update": "exponential"}[c["synapse_saturation_type"]]
            if c["synapse_activation"] == "identity"
            else c["synapse_activation"],
            saturation_eps=c["synapse_saturation_eps"] or 0.0,
            reset_states=c["zero_out_neurons"],
            supervise_every=c["supervised_every"] or 1,
        )

    def _genome(self) -> ng.Genome:
        k = self.config["k"]

        def get(name: str):
            value = np.asarray(self.arrays[name], np.float64)
            return value.reshape(value.shape[-2:] if "transform" in name and name[-4:] != "lier" else ()).astype(self.dtype)

        t = get("genome.neuron.transform")
        arrays = {
            "forward_transform": t[:k, k:].T,
            "backward_transform": t[k:, :k].T,
            "neuron_keep": get("genome.neuron.keep"),
            "neuron_update": get("genome.neuron.update"),
        }
        for theirs, ours in (("synapse", ""), ("forward_synapse", "forward_")):
            if f"genome.{theirs}.transform.pre" in self.arrays:
                arrays[f"{ours}pre_transform"] = get(f"genome.{theirs}.transform.pre")
                arrays[f"{ours}post_transform"] = get(f"genome.{theirs}.transform.post")
                arrays[f"{ours}synapse_keep"] = get(f"genome.{theirs}.keep")
                arrays[f"{ours}synapse_update"] = get(f"genome.{theirs}.update")
        multiplier = self.config["ojas"] and self.config["ojas"]["use_multiplier"]
        extra = {"saturation": self.config["synapse_saturation_type"], "rescale_to": self.rule.rescale}
        names = {"saturation": "saturation", "rescale_to": "rescale"}
        for theirs, wanted in (extra | {"transform.ojas_multiplier": multiplier}).items():
            if wanted:
                arrays[names.get(theirs, "oja_multiplier")] = get(f"genome.synapse.{theirs}")
        return ng.Genome.from_arrays(**{name: jnp.asarray(value) for name, value in arrays.items()})

    def edges(self, prefix: str, step: int | None = None) -> dict[str, np.ndarray]:
        """Their square matrices as forward [E, k], backward [E, k], bias [n, k]."""
        sizes, k = self.config["sizes"], self.config["k"]
        forward, backward, bias = [], [], [np.zeros((sizes[0], k))]
        for i in range(len(sizes) - 1):
            w = self.arrays[f"{prefix}.synapse_{i}"]
            w = (w if step is None else w[step])[0, 0]
            p = sizes[i] + 1
            forward.append(w[: sizes[i], p:].reshape(-1, k))
            backward.append(w[p:, : sizes[i]].transpose(1, 0, 2).reshape(-1, k))
            bias.append(w[sizes[i], p:])
        return {"forward": np.concatenate(forward), "backward": np.concatenate(backward), "bias": np.concatenate(bias)}

    def layers(self, prefix: str) -> np.ndarray:
        return np.concatenate([self.arrays[f"{prefix}.layer_{i}"][0, 0] for i in range(len(self.config["sizes"]))], axis=1)

    def initial(self) -> dict[str, np.ndarray | None]:
        """What `Network.pack` takes: the synapses before the first step, and the states that they carry."""
        e = {name: value.astype(self.dtype) for name, value in self.edges("in").items()}
        neurons = None if self.rule.reset_states else self.layers("in").astype(self.dtype)
        return e | {"backward": None if self.rule.symmetric else e["backward"], "neurons": neurons}


def twins(rule: ng.Rule) -> list[str]:
    # The authors let symmetric twins drift apart under Oja and stored norms; ours share one number: compare the forward one.
    return ["forward", "bias"] if rule.symmetric else ["forward", "backward", "bias"]


def unused_rows(case: Layered) -> dict[str, np.ndarray] | None:
    """What the authors' Oja by weights subtracts for parts of their matrices that no activity ever uses."""
    if case.rule.oja != "weights" or case.rule.symmetric:
        return None
    sizes, k = case.config["sizes"], case.config["k"]
    g = case.genome
    factor = case.rule.oja_scale * abs(float(g.oja_multiplier)) * np.sign(float(g.synapse_update)) * float(g.synapse_update)
    forward, backward, bias = [], [], [np.zeros((sizes[0], k))]
    for i in range(len(sizes) - 1):
        w = np.asarray(case.arrays[f"in.synapse_{i}"][0, 0], np.float64)
        p = sizes[i] + 1
        below, above = np.sum(w[p:, p:] ** 2, axis=0), np.sum(w[:p, : sizes[i]] ** 2, axis=0)  # the diagonal blocks
        forward.append((factor * w[: sizes[i], p:] * below).reshape(-1, k))
        bias.append(factor * w[sizes[i], p:] * below)
        backward.append((factor * w[p:, : sizes[i]] * above).transpose(1, 0, 2).reshape(-1, k))
    return {"forward": np.concatenate(forward), "backward": np.concatenate(backward), "bias": np.concatenate(bias)}


@cache
def five_steps(file: str, kernel: str, precision: str) -> tuple[Layered, dict[str, np.ndarray]]:
    """One compiled run of five recorded steps and the query, which the two tests of a file share."""
    case = Layered(file, kernel, precision)
    xs, ys = (case.arrays[f"in.{axis}_seq"][:, 0, 0].astype(precision) for axis in ("x", "y"))
    query = case.arrays["in.x_query"][0, 0].astype(precision)
    return case, jax.device_get(steps(case.network, case.genome, case.initial(), xs, ys, query))


@pytest.mark.parametrize(("file", "precision"), list(itertools.product(sorted(CONFIGS), ["float64", "float32"])))
class TestEveryFile:
    def test_one_step(self, file: str, precision: str, kernel: str):
        tolerance = {"float64": 1e-10, "float32": 1e-4}[precision]
        with jax.enable_x64(precision == "float64"):
            case, ours = five_steps(file, kernel, precision)
            for phase in ("forward", "feedback", "backward"):
                assert relative(ours[f"states.{phase}"][0], case.layers(f"f64.{phase}")) < tolerance, phase
            expected, unused = case.edges("f64.final"), unused_rows(case)
            for name in twins(case.rule):
                assert ours[name].dtype == precision
                learned = ours[name][0] - (unused[name] if unused else 0)
                assert relative(learned, expected[name]) < tolerance, name

    def test_five_steps_and_query(self, file: str, precision: str, kernel: str):
        tolerance = {"float64": 1e-10, "float32": 1e-4}[precision]
        with jax.enable_x64(precision == "float64"):
            case, ours = five_steps(file, kernel, precision)
            if case.rule.oja == "weights" or (case.rule.symmetric and case.rule.synapse_normalization == "stored"):
                pytest.skip("the authors' twins and unused rows drift after one step; ours are one number (see the module)")
            if case.rule.oja != "none" and case.rule.symmetric:
                pytest.skip("the authors' twins drift apart under Oja after one step; ours are one number")
            for step in range(5):
                last = case.arrays["f64.seq.forward_last"][step, 0, 0, ..., 0]
                assert relative(ours["outputs"][step], last) < tolerance, step
                expected = case.edges("f64.seq", step)
                for name in twins(case.rule):
                    assert relative(ours[name][step], expected[name]) < tolerance, (step, name)
            outputs = ours["query"]
            assert relative(outputs, case.layers("f64.query")[:, -outputs.shape[1] :, 0]) < tolerance


def test_unroll_is_steps_in_a_row(kernel: str, x64):
    case = Layered("A_4-6-5-3_k8_b8.npz", kernel, "float64")
    xs, ys = (case.arrays[f"in.{axis}_seq"][:, 0, 0].astype(np.float64) for axis in ("x", "y"))
    synapses, outputs = case.network.unroll(case.genome, case.network.pack(**case.initial()), xs, ys)
    assert relative(outputs, case.arrays["f64.seq.forward_last"][:, 0, 0, ..., 0]) < 1e-10
    assert relative(case.network.unpack(synapses)["forward"], case.edges("f64.seq", 4)["forward"]) < 1e-10


def test_an_unroll_cut_in_two_goes_on_where_it_was(kernel: str, x64):
    case = Layered("J_supervised_every2.npz", kernel, "float64")
    xs, ys = (case.arrays[f"in.{axis}_seq"][:, 0, 0].astype(np.float64) for axis in ("x", "y"))
    whole, _ = case.network.unroll(case.genome, case.network.pack(**case.initial()), xs, ys)
    first, _ = case.network.unroll(case.genome, case.network.pack(**case.initial()), xs[:3], ys[:3])
    second, _ = case.network.unroll(case.genome, first, xs[3:], ys[3:], index=3)
    assert relative(case.network.unpack(second)["forward"], case.network.unpack(whole)["forward"]) < 1e-14
    assert relative(case.network.unpack(whole)["forward"], case.edges("f64.seq", 4)["forward"]) < 1e-10
