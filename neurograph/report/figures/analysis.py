"""Figures of the analyses: each function takes the results of one tool."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np

from neurograph.analysis.decomposition import Decomposition
from neurograph.analysis.directions import Alignment
from neurograph.analysis.longrun import LongRun, median
from neurograph.analysis.loops import Circulation, ClosedCurves
from neurograph.analysis.metric import MetricSearch
from neurograph.analysis.oja import OjaLimit
from neurograph.analysis.perturb import Sensitivity
from neurograph.analysis.symmetry import Asymmetry
from neurograph.report.figures.bands import limit_scores
from neurograph.report.figures.heat_map import annotated_cells, colour_bar
from neurograph.report.figures.style import COLOURS, GREY, MARKERS, Picture, legend_below, picture, short, styled

__all__ = [
    "alignment_figure",
    "asymmetry_figure",
    "circulation_figure",
    "closed_figure",
    "decomposition_figure",
    "long_run_figure",
    "metric_figure",
    "oja_figure",
    "sensitivity_figure",
]


def _figure(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Picture, Any]:
    figure = picture(width, height)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


@styled({"axes.grid": False})
def asymmetry_figure(results: Mapping[str, Asymmetry]) -> Picture:
    """Draws figure 2 for several rules side by side: ln |J - J^T| relative to the largest |J|; grey is below the error."""
    figure, axes = _figure(3.1 * len(results) + 0.6, 3.7, 1, len(results))
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#dcdcdc")
    shown: Any = None
    for axis, (name, result) in zip(axes[0], results.items()):
        top = float(np.abs(result.jacobian).max()) or 1.0
        values = result.log_map - np.log(top)
        floor = np.log(max(result.entry_error, np.finfo(float).tiny)) - np.log(top)
        entries = np.ma.masked_where(values <= floor, np.maximum(values, -12))
        shown = axis.imshow(entries, cmap=colours, vmin=-12, vmax=0, interpolation="nearest", rasterized=True)
        levels = [(p.direction == "backward", p.level) for p in result.places]
        starts = [0, *(i for i in range(1, len(levels)) if levels[i] != levels[i - 1]), len(levels)]
        for edge in starts[1:-1]:
            axis.axhline(edge - 0.5, color="white", linewidth=0.8)
            axis.axvline(edge - 0.5, color="white", linewidth=0.8)
        middles = [(a + b) / 2 for a, b in itertools.pairwise(starts)]
        axis.set_xticks(middles, [f"{'back ' if levels[a][0] else 'level '}{levels[a][1]}" for a in starts[:-1]], fontsize=8)
        axis.set_yticks([])
        verdict = "symmetric to rounding" if result.symmetric else f"|J - Jᵀ| / |J| = {result.relative:.2f}"
        axis.set_title(f"{short(name)}\n{verdict}", fontsize=10)
        axis.set_xlabel(f"{len(levels)} stored numbers", fontsize=9)
    colour_bar(figure, shown, axes[0].tolist(), fraction=0.03).set_label("ln |J - Jᵀ| - ln max |J|", fontsize=9)
    return figure


@styled()
def metric_figure(results: Mapping[str, MetricSearch]) -> Picture:
    """Draws how many metrics are left at one state and at all, and the eigenvalues of the best of them."""
    figure, axes = _figure(7.2, 3.3, 1, 2)
    at = np.arange(len(results))
    for shift, (label, values) in enumerate(
        {
            "one state": [r.null_dimension for r in results.values()],
            "all states": [len(r.joint) for r in results.values()],
        }.items()
    ):
        bars = axes[0, 0].bar(at + 0.4 * shift - 0.2, values, 0.38, color=COLOURS[shift], label=label)
        axes[0, 0].bar_label(bars, fontsize=9)
    axes[0, 0].set_xticks(at, list(map(short, results)), fontsize=9)
    axes[0, 0].set_ylabel("dimension of the null space")
    axes[0, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes[0, 0].set_axisbelow(True)
    for number, (name, result) in enumerate(results.items()):
        values = np.linalg.eigvalsh(result.best)
        mark = MARKERS[number]
        answer = f"{short(name)}: positive definite: {result.positive_definite}"
        axes[0, 1].plot(np.linspace(0, 1, len(values)), values, mark, color=COLOURS[number], markersize=3, label=answer)
    axes[0, 1].axhline(0, color=GREY, linewidth=0.8)
    axes[0, 1].set_xlabel("rank (share)")
    axes[0, 1].set_ylabel("eigenvalues of the best metric")
    axes[0, 1].legend(fontsize=8)
    return figure


@styled()
def circulation_figure(results: Mapping[str, Circulation]) -> Picture:
    """Draws the work round closed circles, with its error: zero for gradients."""
    figure, axes = _figure(5.4, 3.2, 1, 1)
    axis = axes[0, 0]
    for number, result in enumerate(results.values()):
        at = number + np.linspace(-0.25, 0.25, len(result.integral))
        scale = np.maximum(result.scale, np.finfo(float).tiny)
        axis.semilogy(at, np.maximum(result.relative, 1e-17), MARKERS[number], color=COLOURS[number], markersize=5)
        axis.semilogy(at, np.maximum(result.error / scale, 1e-17), "_", color=GREY, markersize=9)
    axis.semilogy([], [], "_", color=GREY, label="error of the quadrature")
    axis.set_xticks(range(len(results)), list(map(short, results)))
    axis.set_ylabel("|∮ g dw| / ∮ |g| |dw|")
    axis.legend(loc="best")
    return figure


@styled()
def closed_figure(result: ClosedCurves) -> Picture:
    """Draws the norm of the synapses along each curve of the flow, and how near it came to closing."""
    figure, axes = _figure(5.4, 3.0, 1, 1)
    for number, (outcome, ratio, norms) in enumerate(zip(result.outcome, result.ratio, result.norms)):
        near = "never turns back" if np.isnan(ratio) else f"nearest return {ratio:.2g} of its extent"
        axes[0, 0].plot(result.times, norms, color=COLOURS[number % 8], label=f"{outcome}: {near}")
    axes[0, 0].set_xlabel("time (1 = one learning step)")
    axes[0, 0].set_ylabel("|w|")
    axes[0, 0].legend()
    return figure


@styled({"axes.grid": False})
def decomposition_figure(result: Decomposition) -> Picture:
    """Draws the shares of each matrix, and of the update by pair of states."""
    figure, axes = _figure(7.2, 3.3, 1, 2, width_ratios=[1.4, 1])
    bottom = np.zeros(len(result.shares))
    for number, part in enumerate(next(iter(result.shares.values()))):
        values = np.array([shares[part] for shares in result.shares.values()])
        axes[0, 0].bar(range(len(values)), values, bottom=bottom, color=COLOURS[number], label=part)
        bottom += values
    axes[0, 0].set_xticks(range(len(result.shares)), [name.split("_")[0] for name in result.shares])
    axes[0, 0].set_ylabel("share of squared norm")
    legend_below(figure, *axes[0, 0].get_legend_handles_labels(), columns=4)
    axes[0, 0].set_title("the matrices", fontsize=10)
    limit = max(1e-9, np.abs(result.alignment).max())
    texts = [[f"{100 * value:.0f}%" for value in row] for row in result.alignment]
    annotated_cells(axes[0, 1], result.alignment, texts, limit=limit, size=9)
    axes[0, 1].set_aspect("equal")
    axes[0, 1].set_xlabel("receiver's state d")
    axes[0, 1].set_ylabel("sender's state e")
    axes[0, 1].set_title("part of the update", fontsize=10)
    return figure


@styled()
def alignment_figure(result: Alignment) -> Picture:
    """Draws the cosine with minus the gradient along training, the loss, and how often small steps lower it."""
    figure, axes = _figure(9.6, 3.2, 1, 3)
    for number, name in enumerate(result.methods):
        axes[0, 0].plot(result.overall[number], color=COLOURS[number], linewidth=2, label=name)
        axes[0, 1].plot(result.loss[number], color=COLOURS[number], linewidth=2, label=name)
    for column, level in enumerate(result.levels):
        style = ("--", ":", "-.")[column % 3]
        axes[0, 0].plot(result.cosine[0, :, column], style, color=COLOURS[0], linewidth=1, label=f"genome, level {level}")
    axes[0, 0].set_ylim(-1.05, 1.05)
    axes[0, 0].set_ylabel("cosine with minus the gradient")
    axes[0, 1].set_ylabel("loss on the batch")
    axes[0, 1].set_yscale("log")
    for axis in axes[0, :2]:
        axis.set_xlabel("full-batch step")
    axes[0, 0].legend(fontsize=7)
    axes[0, 1].legend(fontsize=8)
    axes[0, 2].bar(range(len(result.scales)), 100 * result.falls, color=COLOURS[0])
    axes[0, 2].axhline(100, color=GREY, linestyle=":", linewidth=1)
    axes[0, 2].set_xticks(range(len(result.scales)), [f"{s:g}" for s in result.scales])
    axes[0, 2].set_xlabel("fraction of the genome's step")
    axes[0, 2].set_ylabel("% of points where the loss falls")
    axes[0, 2].set_ylim(0, 105)
    return figure


@styled()
def long_run_figure(result: LongRun) -> Picture:
    """Draws synapses per level, neurons and score over a long run: medians over the seeds."""
    figure, axes = _figure(9.6, 3.2, 1, 3)
    for column, level in enumerate(result.levels):
        axes[0, 0].plot(result.at + 1, median(result.norms[:, :, column]), color=COLOURS[column % 8], label=f"level {level}")
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylabel("root mean square of the synapses")
    axes[0, 1].plot(result.at + 1, median(result.saturated), color=COLOURS[0], label=f"above {result.limit}")
    axes[0, 1].plot(result.at + 1, median(result.silent), color=COLOURS[1], label="silent on all rows")
    axes[0, 1].set_ylim(-0.03, 1.03)
    axes[0, 1].set_ylabel("share of hidden neurons")
    for row in result.accuracy:
        axes[0, 2].plot(result.at + 1, row, color=COLOURS[2], alpha=0.35, linewidth=1)
    axes[0, 2].plot(result.at + 1, median(result.accuracy), color=COLOURS[2], linewidth=2, label="median")
    axes[0, 2].set_ylabel(f"query {result.score} (validation)")
    limit_scores([axes[0, 2]])
    for axis in axes[0]:
        axis.set_xscale("log")
        axis.set_xlabel("1 + learning steps")
        axis.legend(fontsize=8)
    return figure


@styled()
def sensitivity_figure(result: Sensitivity, most: int = 24) -> Picture:
    """Draws the numbers that matter most: score lost when each is moved or removed."""
    worst = np.maximum(result.importance, result.drop)
    order = np.argsort(-worst)[:most][::-1]
    figure, axes = _figure(5.8, 0.19 * len(order) + 1.4, 1, 1)
    axis = axes[0, 0]
    at = np.arange(len(order))
    axis.axvspan(-2 * result.deviation, 2 * result.deviation, color="#eeeeee", label="twice the standard error")
    axis.plot(result.importance[order], at, MARKERS[0], color=COLOURS[1], markersize=5, label="removed")
    axis.plot(result.drop[order], at, MARKERS[1], color=COLOURS[0], markersize=4, label=f"moved by {result.step:g}")
    axis.set_yticks(at, [f"{result.names[i]} = {result.values[i]:.2f}" for i in order], fontsize=7)
    axis.set_xlabel(f"{result.score} lost (of {result.accuracy:.3f})")
    axis.legend(fontsize=8, loc="lower right")
    return figure


@styled()
def oja_figure(result: OjaLimit) -> Picture:
    """Draws the error of Eq. 8 against the normalised update, over gamma."""
    figure, axes = _figure(4.6, 3.0, 1, 1)
    axes[0, 0].loglog(result.gammas, np.maximum(result.error, 1e-17), "o-", color=COLOURS[0], label="difference")
    axes[0, 0].loglog(
        result.gammas, result.error[0] * result.gammas / result.gammas[0], ":", color=GREY, label="in proportion to γ"
    )
    axes[0, 0].set_xlabel("γ")
    axes[0, 0].set_ylabel("|limit - Eq. 8| / |update|")
    axes[0, 0].legend()
    return figure
