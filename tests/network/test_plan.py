"""The planner: every synapse in one block, every neuron in one stage, tables without loss."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurograph as ng
from benchmarks import workloads
from neurograph.errors import PlanError
from neurograph.network.plan.describe import block_costs
from neurograph.network.plan.tables import cut_pieces, make_table, tile_groups
from neurograph.network.step import learning_step
from neurograph.testing.graphs import random_topology

CASES = Path(__file__).parents[1] / "cases"
OPTIONS = [{}, {"blocks": False}, {"levels": "always"}, {"blocks": False, "levels": "never"}, {"native": True}, {"gpu": True}]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), neurons=st.integers(12, 80), degree=st.integers(1, 6), option=st.sampled_from(OPTIONS))
def test_every_synapse_is_in_one_block(seed: int, neurons: int, degree: int, option: dict):
    topology = workloads.random_dag(neurons, neurons * degree, inputs=3, outputs=2, seed=seed)
    plan = ng.compile_plan(topology, **option)
    edges = np.concatenate([block.edges[block.edges >= 0] for block in plan.blocks])
    assert sorted(edges.tolist()) == list(range(topology.num_synapses))
    assert sorted(plan.order.tolist()) == list(range(topology.num_neurons))
    for block in plan.blocks:
        if block.kind == "levels":
            # Every tile may only read what tiles before it have written.
            tile = np.repeat(np.arange(len(block.tiles) - 1), np.diff(block.tiles))
            assert (tile[block.source] < tile[block.target]).all()
        elif block.kind == "gather":
            order = plan.order[plan.offsets[block.source_stage] + block.source]
            assert (order == topology.senders[block.edges]).all()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), tiles=st.integers(1, 4), rows=st.integers(1, 9), count=st.integers(1, 200))
def test_tables_hold_every_synapse_once(seed: int, tiles: int, rows: int, count: int):
    random = np.random.default_rng(seed)
    targets, sources = np.sort(random.integers(0, tiles * rows, count)), random.integers(0, 50, count)
    tile, row = np.divmod(np.arange(tiles * rows), rows)
    table = make_table(targets, sources, tile, row, tiles, rows)
    slots = np.concatenate([p.slots.reshape(-1) for p in table.pieces])
    assert sorted(slots[slots < count].tolist()) == list(range(count))
    for piece in table.pieces:
        real = piece.slots < count
        assert (piece.sources[real] == sources[piece.slots[real]]).all()
        where = np.broadcast_to(np.arange(piece.slots.shape[1])[None, :, None], piece.slots.shape)
        order = np.broadcast_to(np.arange(rows), (tiles, rows)) if table.order is None else table.order
        at = np.broadcast_to(np.arange(tiles)[:, None, None], piece.slots.shape)
        assert (order[at[real], where[real]] == row[targets[piece.slots[real]]]).all()


def test_pieces_cover_a_profile():
    profile = np.array([40, 12, 12, 5, 5, 1, 0])
    covered = np.zeros(40, int)
    for rows, first, stop, width in cut_pieces(profile):
        assert width >= stop - first
        covered[first:stop] = rows
    assert all(covered[c] >= np.count_nonzero(profile > c) for c in range(40))


def test_groups_of_tiles_are_consecutive():
    degree = np.concatenate([np.full((20, 4), 30), np.full((40, 4), 3)])
    groups = tile_groups(degree)
    assert len(groups) == 2
    assert groups[0][0] == 0
    assert groups[0][1] == groups[1][0]
    assert groups[-1][1] == 60


def test_blocks_and_scanned_levels_share_a_plan():
    plan = ng.compile_plan(workloads.deep_dag(300, 3000, seed=1))
    kinds = {block.kind for block in plan.blocks}
    assert {"levels", "masked"} <= kinds
    assert sum(phase.scanned for phase in plan.phases) == 1


def test_plans_are_cached_and_options_checked():
    topology = workloads.layered((4, 8, 3))
    assert ng.compile_plan(topology) is ng.compile_plan(workloads.layered((4, 8, 3)))
    with pytest.raises(PlanError, match="levels: got 'often'; allowed: auto, always, never"):
        ng.compile_plan(topology, levels="often")
    with pytest.raises(PlanError, match="native and gpu: native code runs on a CPU"):
        ng.compile_plan(topology, native=True, gpu=True)


@pytest.mark.parametrize("native", [False, True])
def test_costs_are_told_level_by_level(native: bool):
    plan = ng.compile_plan(workloads.deep_dag(300, 3000, seed=1), native=native)
    costs = block_costs(plan, states=2)
    assert sum(cost.synapses for cost in costs) == plan.topology.num_synapses
    scanned = next(cost for cost in costs if cost.kind == ("native levels" if native else "levels"))
    first, last = map(int, scanned.level.split("-"))
    block = next(block for block in plan.blocks if block.kind == "levels")
    assert last - first + 1 == block.levels
    assert scanned.operations == 2 * 3 * block.synapses
    assert scanned.bytes == block.synapses * (8 + (12 if native else 40))
    assert f"{block.levels} irregular levels" in scanned.why
    assert ("one native call a pass" in scanned.why) == native
    assert all(cost.why for cost in costs)


def test_native_rows_beat_products_at_a_higher_density():
    def kinds(native: bool) -> set[str]:
        topology = workloads.layered_sparse(2, 64, 64 * 64 * 2 // 5)
        return {block.kind for block in ng.compile_plan(topology, native=native).blocks}

    assert kinds(False) == {"masked"}
    assert kinds(True) == {"gather"}


def test_a_gpu_gets_few_steps_and_products_of_thinner_blocks():
    """Every step of a scan starts kernels there: a level is a step, where a CPU would cut it into tiles of its caches' size."""
    topology = workloads.random_dag(3_000, 9_000, seed=1)
    (tiles, few) = (
        next(len(block.tiles) - 1 for block in ng.compile_plan(topology, gpu=gpu).blocks if block.tiles is not None)
        for gpu in (False, True)
    )
    assert few < tiles / 2
    thin = workloads.layered_sparse(2, 64, 64 * 64 // 10)
    assert [block.kind for block in ng.compile_plan(thin, gpu=True).blocks] == ["masked"]
    assert [block.kind for block in ng.compile_plan(thin).blocks] == ["gather"]


def hidden_stages(plan: ng.Plan) -> list[int]:
    """Of every phase that has some, how many."""
    counts = [sum(plan.stages[stage].kind == "hidden" for stage in phase.stages) for phase in plan.phases]
    return [count for count in counts if count]


def towers(count: int, width: int) -> ng.Topology:
    """Columns of two layers beside each other, between common inputs and outputs."""
    columns = [(f"a{number}", f"b{number}") for number in range(count)]
    pairs = [pair for a, b in columns for pair in (("i", a), (a, b), (b, "o"))]
    sizes = {name: width for column in columns for name in column}
    connections = [{"kind": "dense", "from": a, "to": b} for a, b in pairs]
    return ng.build_topology(
        {"populations": {"i": 64, "o": 10} | sizes, "inputs": "i", "outputs": "o", "connections": connections}
    )


@pytest.mark.parametrize("native", [False, True])
def test_products_that_save_less_than_their_stages_cost_cut_no_phase(native: bool):
    """Two of six inputs for each of 2,000 neurons: fifteen complete groups of some 130 x 2."""
    plan = ng.compile_plan(ng.load_topology(CASES / "wide_choice.yaml"), native=native)
    assert hidden_stages(plan) == [1]
    assert [block.kind for block in plan.blocks] == (["dense", "gather"] if native else ["masked", "dense"])
    assert hidden_stages(ng.compile_plan(towers(8, 32), native=native)) == [1, 1]


def test_few_stages_and_large_products_stay():
    assert hidden_stages(ng.compile_plan(towers(4, 8))) == [4, 4]
    assert hidden_stages(ng.compile_plan(towers(8, 64))) == [8, 8]
    assert max(hidden_stages(ng.compile_plan(towers(20, 64)))) <= 8
    assert hidden_stages(ng.compile_plan(ng.load_topology("committee"))) == [3, 2, 1, 1]


def operations(topology: ng.Topology, kernel: str) -> int:
    """How many operations the program of a learning step has: what it takes to compile grows with them."""
    genome, rule = ng.backprop_genome()
    network = ng.Network(topology, rule, kernel)
    synapses = jax.eval_shape(lambda: network.init(genome, key=jax.random.key(0)))
    x, y = (jax.ShapeDtypeStruct((8, len(ends)), np.float32) for ends in (topology.inputs, topology.outputs))
    step = jax.jit(lambda synapses, x, y: learning_step(network, genome, synapses, x, y, 0, None, False))
    return step.lower(synapses, x, y).as_text().count(" = ")


@pytest.mark.parametrize(
    "topology",
    [
        CASES / "wide_choice.yaml",
        "mnist_10x10_depth10",
        "residual",
        *({"seed": seed} for seed in (1, 2)),
        {"seed": 3, "cyclic": True, "schedule": "mixed", "ticks": 2},
    ],
    ids=lambda given: given["seed"] if isinstance(given, dict) else Path(given).stem,
)
def test_programs_have_at_most_three_times_the_operations_of_gathers(topology):
    graph = random_topology(**topology) if isinstance(topology, dict) else ng.load_topology(topology)
    assert operations(graph, "auto") <= 3 * operations(graph, "gather")
