"""The inner loop: a network learns on support batches and is judged on a query batch (section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from neurograph.errors import ShapeError
from neurograph.genome import AnyGenome
from neurograph.genome.rule import Rule
from neurograph.learning.lost import WORST_R2
from neurograph.network.batch.graph import Graph
from neurograph.network.network import Network
from neurograph.network.passes import with_states
from neurograph.network.state import Synapses
from neurograph.network.step import learning_step
from neurograph.tasks import Batch, Episode, Task

__all__ = [
    "Problem",
    "accuracy",
    "curve_of",
    "episode_of",
    "for_regression",
    "fresh_synapses",
    "is_regression",
    "judge",
    "learn",
    "learn_and_judge",
    "learning_curve",
    "meta_loss",
    "query_loss",
    "r2",
    "scores_of",
]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """A task on a network that fits it.

    Raises:
      ShapeError: the network's inputs or outputs are not as many as the task's.

    Examples:
      >>> import neurograph as ng
      >>> network = ng.Network(ng.load_topology("mlp_2d_classes"), ng.Rule())
      >>> ng.Problem(network, ng.get_task("xor")).task.num_outputs
      2
    """

    network: Network | Graph
    task: Task

    def __post_init__(self) -> None:
        if not isinstance(self.network, (Network, Graph)):  # a pytree transformation passes placeholders through
            return
        topology, task = self.network.topology, self.task
        if (len(topology.inputs), len(topology.outputs)) != (task.num_inputs, task.num_outputs):
            raise ShapeError(
                f"task {task.name!r} has {task.num_inputs} inputs and {task.num_outputs} outputs; the topology"
                f" {topology.title or 'given'!r} has {len(topology.inputs)} and {len(topology.outputs)}"
            )


def is_regression(task: Task) -> bool:
    """Whether the targets of a task are numbers: it is judged by squared error and R^2, where others have accuracy."""
    return task.num_classes == 0


def for_regression(rule: Rule) -> Rule:
    """Returns a rule under which a genome can learn numbers: feedback of a softmax becomes that of the squared error, and counts
    half in updates of known size: at first it is 1, that of a softmax over ten classes 0.3."""
    if rule.feedback != "softmax_cross_entropy":
        return rule
    scale = 0.5 * rule.error_scale if rule.update_normalization == "neuron" else rule.error_scale
    return rule.replace(feedback="mse", error_scale=scale)


def query_loss(
    outputs: Float[Array, "*batch outputs"], y: Num[Array, "*batch outputs"], regression: bool = False
) -> Float[Array, ""]:
    """Returns the mean softmax cross-entropy of the outputs, or the squared error of a single output (section 3.3).

    Args:
      outputs: state 0 of the output neurons.
      y: labels, +1 for the class and -1 for all others; or the targets of a regression.
      regression: whether several outputs have the mean squared error, too.

    Examples:
      >>> import jax.numpy as jnp
      >>> import neurograph as ng
      >>> labels = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
      >>> round(float(ng.query_loss(jnp.zeros((2, 2)), labels)), 4)
      0.6931
    """
    if regression or y.shape[-1] == 1:
        return jnp.mean((outputs - y) ** 2)
    return jnp.mean(optax.softmax_cross_entropy(outputs, (y + 1) / 2))


@jax.jit
def accuracy(outputs: Float[Array, "*batch outputs"], y: Num[Array, "*batch outputs"]) -> Float[Array, ""]:
    """Returns the share of rows whose largest output is the label's; with one output, the share with the label's sign.

    Examples:
      >>> import jax.numpy as jnp
      >>> import neurograph as ng
      >>> labels = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
      >>> float(ng.accuracy(jnp.array([[0.5, 0.1], [0.3, 0.2]]), labels))
      0.5
    """
    if y.shape[-1] == 1:
        return jnp.mean((outputs[..., 0] > 0) == (y[..., 0] > 0))
    return jnp.mean(jnp.argmax(outputs, axis=-1) == jnp.argmax(y, axis=-1))


@jax.jit
def r2(outputs: Float[Array, "*batch outputs"], y: Num[Array, "*batch outputs"]) -> Float[Array, ""]:
    """Returns R^2, the share of the targets' variance that the outputs explain, the mean over the outputs; of targets that are
    all the same 0.

    Examples:
      >>> import jax.numpy as jnp
      >>> import neurograph as ng
      >>> targets = jnp.array([[1.0], [2.0], [3.0]])
      >>> float(ng.r2(targets, targets)), float(ng.r2(jnp.full((3, 1), 2.0), targets))
      (1.0, 0.0)
    """
    axes = tuple(range(y.ndim - 1))
    whole = jnp.sum((y - jnp.mean(y, axis=axes)) ** 2, axis=axes)
    left = jnp.sum((outputs - y) ** 2, axis=axes)
    return jnp.mean(jnp.where(whole > 0, 1 - left / jnp.where(whole > 0, whole, 1), 0))


def scores_of(outputs: Any, y: Any, regression: bool) -> dict[str, jax.Array]:
    """Returns {"loss", "accuracy"} of outputs, of a regression {"loss", "r2"}, at least `WORST_R2`, where outputs are not finite
    too."""
    loss = query_loss(outputs, y, regression)
    if not regression:
        return {"loss": loss, "accuracy": accuracy(outputs, y)}
    return {"loss": loss, "r2": jnp.nan_to_num(jnp.maximum(r2(outputs, y), WORST_R2), nan=WORST_R2)}


def learn(
    network: Network | Graph,
    genome: AnyGenome,
    synapses: Synapses,
    xs: Any,
    ys: Any,
    steps: Any = None,
    *,
    key: jax.Array | None = None,
    first: Any = 0,
) -> Synapses:
    """Learns the first `steps` of the batches xs [U, B, n_in], ys [U, B, n_out]; differentiable, with the memory of one step.

    `steps` may be a traced integer: one compiled program serves every unroll up to U. `first` is the number of the first step.
    """
    if steps is None:
        return network.unroll(genome, synapses, xs, ys, key=key, index=first)[0]
    synapses = with_states(network, synapses, xs[0])
    return _steps(network, genome, synapses, xs, ys, steps, key, first, lambda synapses: ())[0]


def _steps(network, genome, synapses, xs, ys, steps, key, first, look, looks: Any = None):
    """Returns the synapses after `steps` steps, and the results of `look` after each, leaves [U, ...], zeros past the last.

    `looks` [U] bool: after which steps it looks; elsewhere results are zeros. None: after all.
    """

    def body(synapses: Synapses, batch):
        (index, x, y), wanted = batch
        step_key = None if key is None else jax.random.fold_in(key, first + index)

        def one(synapses: Synapses):
            synapses = learning_step(network, genome, synapses, x, y, first + index, step_key, False)[0]
            if wanted is None:
                return synapses, look(synapses)
            return synapses, jax.lax.cond(wanted, look, lambda synapses: seen, synapses)

        seen = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(look, synapses))
        return jax.lax.cond(index < steps, one, lambda synapses: (synapses, seen), synapses)

    return jax.lax.scan(jax.checkpoint(body), synapses, ((jnp.arange(xs.shape[0]), xs, ys), looks))


def learn_and_judge(
    network: Network | Graph,
    genome: AnyGenome,
    synapses: Synapses,
    episode: Episode,
    steps: Any = None,
    *,
    key: jax.Array | None = None,
    first: Any = 0,
    every_step: bool = False,
    judged_at: Sequence[int] | None = None,
    query_batches: int = 1,
    regression: bool = False,
) -> tuple[Synapses, dict[str, jax.Array]]:
    """Learns on the support batches, then judges on the query.

    Args:
      steps, key, first: as in `learn`.
      every_step: whether the loss is the mean over the queries after every step, instead of the last one's.
      judged_at: step counts; loss and accuracy are the means over the queries after those that are reached, and after the last
        step.
      query_batches: number of equal batches that the query is cut into, each normalised by itself.
      regression: as in `judge`.

    Returns:
      `(synapses, {"loss", "accuracy"})`; the accuracy is that after the last step, unless `judged_at` is given.
    """
    xs, ys = episode.support
    if not every_step and judged_at is None:
        synapses = learn(network, genome, synapses, xs, ys, steps, key=key, first=first)
        return synapses, judge(network, genome, synapses, episode.query, query_batches, regression)
    count = xs.shape[0] if steps is None else steps

    def look(synapses: Synapses) -> dict[str, jax.Array]:
        return judge(network, genome, synapses, episode.query, query_batches, regression)

    synapses = with_states(network, synapses, xs[0])
    if judged_at is not None:
        done = jnp.arange(1, xs.shape[0] + 1)
        looks = jnp.isin(done, jnp.asarray(tuple(judged_at), done.dtype)) | (done == count)
        synapses, seen = _steps(network, genome, synapses, xs, ys, count, key, first, look, looks)
        number = jnp.sum(looks & (done <= count))
        return synapses, {name: value.sum() / number.astype(value.dtype) for name, value in seen.items()}
    synapses, seen = _steps(network, genome, synapses, xs, ys, count, key, first, look)
    return synapses, {"loss": seen["loss"].sum() / count, "accuracy": seen["accuracy"][count - 1]}


def fresh_synapses(network: Network | Graph, genome: AnyGenome, batch_size: int, *, key: jax.Array) -> Synapses:
    """Draws synapses, with states of zero [B, n, k] where the rule carries states over: the same structure as after learning."""
    synapses = network.init(genome, key=key)
    if network.rule.reset_states:
        return synapses
    dtype = jax.tree.leaves(genome)[0].dtype
    return with_states(network, synapses, jnp.zeros((batch_size, len(network.topology.inputs)), dtype))


def _rested(synapses: Synapses) -> Synapses:
    """Returns the synapses without carried states, which belong to the rows of a support batch, not to the query's."""
    return replace(synapses, neurons=None)


def meta_loss(
    network: Network | Graph,
    genome: AnyGenome,
    episode: Episode,
    *,
    key: PRNGKeyArray,
    steps: int | Int[Array, ""] | None = None,
    query_batches: int = 1,
    every_step: bool = False,
    judged_at: Sequence[int] | None = None,
    regression: bool = False,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Returns the query loss of a network with fresh synapses after it has learned on the support batches.

    Args:
      network, genome: one of each; use `jax.vmap` or `jax.lax.map` for more.
      episode: support [U, B, ...] and query [Q, ...].
      key: PRNG key of the synapses (and noise).
      steps: number of batches to learn, from the first; may be traced; default: all.
      query_batches, every_step, judged_at, regression: as in `learn_and_judge`.

    Returns:
      `(loss, {"loss", "accuracy"})`, scalars, means over the query.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file, key = ng.load_genome_file("functions"), jax.random.key(0)
      >>> network = ng.Network(ng.load_topology("mlp_2d_classes"), file.rule)
      >>> episode = ng.get_task("xor").episode(key, 10, 64, 256)  # steps, rows of a batch, rows of the query
      >>> loss, metrics = ng.meta_loss(network, file.genome, episode, key=key)
      >>> bool(metrics["accuracy"] > 0.7)
      True
    """
    init_key, noise_key = jax.random.split(key)
    synapses = network.init(genome, key=init_key)
    if not network.rule.noise:
        noise_key = None
    options: dict[str, Any] = {"key": noise_key, "every_step": every_step, "judged_at": judged_at, "regression": regression}
    metrics = learn_and_judge(network, genome, synapses, episode, steps, query_batches=query_batches, **options)[1]
    return metrics["loss"], metrics


def judge(
    network: Network | Graph,
    genome: AnyGenome,
    synapses: Synapses,
    query: Batch,
    query_batches: int = 1,
    regression: bool = False,
) -> dict[str, jax.Array]:
    """Returns {"loss", "accuracy"} of a query [Q, ...], judged in `query_batches` batches one after another; of a regression the
    accuracy is R^2, as `scores_of` has it."""
    synapses = _rested(synapses)

    def one(batch: Batch) -> dict[str, jax.Array]:
        outputs = network.predict(genome, synapses, batch.x)
        scores = scores_of(outputs, batch.y, regression)
        return {"loss": scores["loss"], "accuracy": scores["r2" if regression else "accuracy"]}

    if query_batches == 1:
        return one(query)
    batches = jax.tree.map(lambda leaf: leaf.reshape(query_batches, -1, *leaf.shape[1:]), query)
    return jax.tree.map(jnp.mean, jax.lax.map(one, batches))


def learning_curve(
    problem: Problem,
    genome: AnyGenome,
    *,
    key: PRNGKeyArray,
    at: Sequence[int],
    batch_size: int,
    split: str = "train",
    query_split: str = "test",
    query_size: int = 1024,
) -> dict[str, Float[Array, " at"]]:
    """Returns query loss and accuracy after each of `at` learning steps, from fresh synapses: {"loss", "accuracy"}; of a
    regression {"loss", "r2"}.

    Args:
      problem: network and task.
      genome: one; `jax.vmap` or `jax.lax.map` over genomes or keys for more.
      key: PRNG key of the episode, the synapses and noise.
      at: step counts, ascending, 0 allowed.
      batch_size: rows per learning step.
      split, query_split: splits of the batches and of the query; the query is the same after every step.
      query_size: rows of the query.

    Raises:
      ShapeError: `at` is empty, negative or not ascending.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file = ng.load_genome_file("functions")
      >>> problem = ng.Problem(ng.Network(ng.load_topology("mlp_2d_classes"), file.rule), ng.get_task("xor"))
      >>> curve = ng.learning_curve(problem, file.genome, key=jax.random.key(0), at=[0, 10], batch_size=64)
      >>> bool(curve["loss"][1] < curve["loss"][0])
      True
    """
    at = tuple(int(a) for a in at)
    if not at or at[0] < 0 or list(at) != sorted(set(at)):
        raise ShapeError(f"at: got {list(at)}; expected ascending step counts >= 0, such as [0, 1, 5, 10]")
    return _curve(problem, genome, key, at, batch_size, split, query_split, query_size)


@partial(jax.jit, static_argnums=(3, 4, 5, 6, 7))
def _curve(problem, genome, key, at, batch_size, split, query_split, query_size):
    sizes = (max(at[-1], 1), batch_size, query_size, split, query_split)
    episode, init_key, noise_key = episode_of(problem.task, key, sizes)
    return curve_of(problem.network, genome, episode, init_key, noise_key, at, is_regression(problem.task))


@partial(jax.jit, static_argnums=(2,))
def episode_of(task: Task, key: jax.Array, sizes: tuple[Any, ...]) -> tuple[Episode, jax.Array, jax.Array]:
    """Returns the episode that `learning_curve` has for a key, and its keys of first synapses and noise.

    `sizes`: what `Task.episode` takes after the key. A program of its own, so that it is compiled once for all graphs.
    """
    data_key, init_key, noise_key = jax.random.split(key, 3)
    return task.episode(data_key, *sizes), init_key, noise_key


def curve_of(
    network: Network | Graph,
    genome: AnyGenome,
    episode: Episode,
    init_key: jax.Array,
    noise_key: jax.Array,
    at: tuple[int, ...],
    regression: bool = False,
) -> dict[str, Float[Array, " at"]]:
    """`learning_curve` of an episode: query loss and accuracy after each of `at` steps, ascending."""
    (xs, ys), query = episode
    genome = network.laid_out(genome)

    def one(index: jax.Array, synapses: Synapses) -> Synapses:
        step_key = jax.random.fold_in(noise_key, index) if network.rule.noise else None
        return learning_step(network, genome, synapses, xs[index], ys[index], index, step_key, False)[0]

    def stretch(synapses: Synapses, ends: tuple[jax.Array, jax.Array]):
        # A loop of traced length: the step is compiled once, however many stretches there are.
        synapses = jax.lax.fori_loop(ends[0], ends[1], one, synapses)
        outputs = network.predict(genome, _rested(synapses), query.x)
        return synapses, scores_of(outputs, query.y, regression)

    start = with_states(network, network.init(genome, key=init_key), xs[0])
    return jax.lax.scan(stretch, start, (jnp.asarray((0, *at[:-1])), jnp.asarray(at)))[1]
