"""The planner: every synapse in one block, every neuron in one stage, tables without loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurograph as ng
from benchmarks import workloads
from neurograph.errors import PlanError
from neurograph.network.plan.describe import block_costs
from neurograph.network.plan.tables import cut_pieces, make_table, tile_groups

OPTIONS = [{}, {"blocks": False}, {"levels": "always"}, {"blocks": False, "levels": "never"}, {"native": True}]


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
