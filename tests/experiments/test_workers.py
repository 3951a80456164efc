"""Tasks on workers: real processes, a real scheduler, workers that die in mid task."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import click
import pytest
import worker_tasks
from click.testing import CliRunner
from meta_runs import genome_of, numbers, write_experiments

import neurograph as ng
from neurograph.cli.options import data_sets_option
from neurograph.experiments.folder.checkpoint import checkpoint_step
from neurograph.experiments.folder.topologies import keep_topology
from neurograph.experiments.runs import train_all
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.sweep import parse_axis, plan_sweep
from neurograph.experiments.train import meta_train
from neurograph.experiments.workers import Here, TaskLost, make_executor
from neurograph.experiments.workers.cluster import _Remote
from neurograph.experiments.workers.worker import WorkerMismatch, asking, perform


@pytest.fixture(scope="module")
def pair():
    """Two processes on this machine, and what was said about them."""
    said: list[str] = []
    with make_executor(2, said.append) as executor:
        yield executor, said


def results(executor, tasks):
    return sorted(task.result() for task in executor.as_completed(tasks))


@pytest.mark.parametrize("here", [True, False])
def test_tasks_shared_values_and_errors(pair, here):
    executor = Here() if here else pair[0]
    assert results(executor, [executor.submit(worker_tasks.square, number) for number in range(5)]) == [0, 1, 4, 9, 16]
    common = [1, 2, 3]
    tasks = [executor.submit(worker_tasks.scaled, factor, shared=common) for factor in (1, 2)]
    assert results(executor, tasks) == [[1, 2, 3], [2, 4, 6]]
    with pytest.raises(ng.TaskError, match="no data here"):
        executor.submit(worker_tasks.fail).result()
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result()
    assert executor.workers == (1 if here else 2)


def test_workers_are_other_processes_and_side_by_side(pair):
    executor, _ = pair
    found = {*results(executor, [executor.submit(worker_tasks.process) for _ in range(6)])}
    assert os.getpid() not in found
    assert len(found) == 2


@pytest.mark.thorough
def test_the_port_of_another_cluster_is_no_matter():
    """Dask warns, on standard error, where its own port is taken; warnings are errors here."""
    with socket.socket() as taken:
        with suppress(OSError):  # somebody else has it: as well
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        with make_executor(1) as executor:
            assert executor.submit(worker_tasks.square, 3).result() == 9


@pytest.mark.thorough
def test_a_task_that_kills_three_workers_is_given_up_and_the_others_go_on(pair):
    executor, _ = pair
    cluster = executor._executor()
    killer = _Remote(cluster, "die", worker_tasks.die)  # it need not load JAX to die
    tasks = [executor.submit(worker_tasks.square, number) for number in range(4)]
    found = []
    for task in executor.as_completed([killer, *tasks]):
        if task is killer:
            with pytest.raises(TaskLost, match=r"die: 3 workers died of it, the last at tls://127\.0\.0\.1:\d+; out of memory"):
                task.result()
        else:
            found.append(task.result())
    assert sorted(found) == [0, 1, 4, 9]
    assert executor.submit(worker_tasks.square, 4).result() == 16


def test_a_task_that_nobody_waits_for_is_told(pair, tmp_path):
    executor, _ = pair
    executor.submit(worker_tasks.wait_until_cancelled, str(tmp_path / "started"), str(tmp_path / "ended"))
    worker_tasks.exists(tmp_path / "started")
    executor.cancel()
    worker_tasks.exists(tmp_path / "ended")


def test_a_worker_that_would_compute_other_numbers_is_refused():
    import cloudpickle

    call, ours = cloudpickle.dumps((worker_tasks.square, (3,))), asking()
    assert perform(ours, call) == 9
    other = {**dict(ours.environment), "jax": "0.1.2"}
    message = r"this process would compute other numbers: jax: the worker has \d+\.\d+\.\d+, this process 0\.1\.2$"
    with pytest.raises(WorkerMismatch, match=message):
        perform(dataclasses.replace(ours, environment=tuple(other.items())), call)
    with pytest.raises(WorkerMismatch, match=rf"threads of XLA: the worker has {ours.threads}, this process {ours.threads + 1}$"):
        perform(dataclasses.replace(ours, threads=ours.threads + 1), call)


def test_workers_read_data_sets_where_the_command_says(monkeypatch):
    import cloudpickle

    @click.command()
    @data_sets_option
    def where() -> None:
        click.echo(asking().data_dir)

    monkeypatch.setenv("TFDS_DATA_DIR", "/own")
    call, ours = cloudpickle.dumps((os.getenv, ("TFDS_DATA_DIR",))), asking()
    told = CliRunner().invoke(where, ["--data-dir", "sets"]).stdout.strip()
    assert told == str(Path("sets").absolute())
    assert ours.data_dir == asking().data_dir == ""
    elsewhere = dataclasses.replace(ours, data_dir=told)
    assert [perform(one, call) for one in (ours, elsewhere, elsewhere, ours)] == ["/own", told, told, "/own"]


def test_an_address_where_nobody_answers(monkeypatch):
    monkeypatch.setattr("neurograph.experiments.workers.makers.CONNECT", 0.2)
    with (
        make_executor("tcp://127.0.0.1:9") as executor,
        pytest.raises(
            ng.ExperimentError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 within 0.2 s .*`dask scheduler`"
        ),
    ):
        executor.submit(worker_tasks.square, 1)


def test_each_worker_of_this_machine_has_its_share_of_the_cores(pair):
    executor, _ = pair
    cores = os.sched_getaffinity(0)
    found = {*map(tuple, results(executor, [executor.submit(worker_tasks.cores) for _ in range(6)]))}
    if len(cores) < 2:
        assert found == {tuple(sorted(cores))}
    else:
        assert {core for share in found for core in share} == cores
        assert sum(map(len, found)) == len(cores)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ng.MissingExtraError, match=r"pip install 'neurograph\[cluster\]'"), make_executor(2):
        pass


def test_generations_on_two_workers_one_of_which_dies_are_those_of_one_process(pair, tmp_path):
    """Seven individuals: the last part is filled up. The replacement of the dead worker computes its part again."""
    write_experiments(tmp_path)
    spec = load_experiment(tmp_path / "cma.yaml")
    meta_train(spec, tmp_path / "here", base=tmp_path)
    executor, _ = pair

    def kill(record):
        if record["step"] == 4 and "loss" in record:
            os.kill(executor.submit(os.getpid).result(), signal.SIGKILL)

    meta_train(spec, tmp_path / "there", base=tmp_path, executor=executor, progress=kill)
    assert numbers(tmp_path / "there") == numbers(tmp_path / "here")
    assert genome_of(tmp_path / "there") == genome_of(tmp_path / "here")


def test_a_scheduler_that_goes_while_it_is_asked():
    """Dask's client still calls itself running then: each of its calls may fail."""
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    from neurograph.experiments.workers.cluster import Cluster

    class Client:
        status = "running"
        error = CommClosedError("ConnectionPool closing.")

        def fail(self, *_, **__):
            raise self.error

        nthreads = submit = cancel = scheduler_info = fail

    cluster = Cluster(Client(), "the scheduler tcp://host:1")  # pyright: ignore[reportArgumentType]
    for Client.error in (CommClosedError("closing"), ClosedClientError("closed"), TimeoutError("too long")):
        for ask in (lambda: cluster.workers, lambda: cluster.submit(worker_tasks.square, 3)):
            with pytest.raises(ng.ExperimentError, match=rf"the scheduler tcp://host:1 is gone, .* \({Client.error}\)"):
                ask()
        cluster._open.add(object())  # pyright: ignore[reportArgumentType]
        cluster.cancel()
        cluster._look()


@pytest.mark.thorough
def test_when_the_scheduler_dies_finished_generations_are_kept(tmp_path):
    write_experiments(tmp_path)
    spec = load_experiment(tmp_path / "cma.yaml", ("training.meta_steps=6",))
    with worker_tasks.loopback(tmp_path, 1) as (file, scheduler, _):

        def kill(record):
            if record["step"] == 4 and "loss" in record:
                scheduler.kill()
                scheduler.wait()

        with (
            make_executor(file) as executor,
            pytest.raises(
                ng.ExperimentError, match=r"the scheduler .*scheduler\.json is gone, and the answers that had not arrived"
            ),
        ):
            meta_train(spec, tmp_path / "run", base=tmp_path, executor=executor, progress=kill)
    assert [record["step"] for record in numbers(tmp_path / "run") if "loss" in record] == [2, 4]
    meta_train(spec, tmp_path / "run", base=tmp_path, resume=True)
    meta_train(spec, tmp_path / "whole", base=tmp_path)
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
    assert genome_of(tmp_path / "run") == genome_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "gradient",
            (),
            "training.method is gradient, whose meta-steps workers do not share; expected one of cma, es, pes, or several",
        ),
        ("cma", ("devices=2",), "devices, or several processes, already share the population"),
    ],
)
def test_an_executor_that_would_have_nothing_to_do(tmp_path: Path, name, changes, message):
    write_experiments(tmp_path)
    with pytest.raises(ng.ExperimentError, match=message):
        meta_train(load_experiment(tmp_path / f"{name}.yaml", changes), tmp_path / "run", base=tmp_path, executor=Here())
    assert not (tmp_path / "run").exists()


def test_data_that_differ_are_refused(tmp_path: Path):
    from neurograph.experiments.experiment import Experiment
    from neurograph.experiments.generations import Recipe

    write_experiments(tmp_path)
    experiment = Experiment(load_experiment(tmp_path / "cma.yaml"), tmp_path)
    keep_topology(tmp_path, "two.yaml", tmp_path / "two.yaml")  # as meta_train does
    recipe = Recipe.of(experiment, tmp_path)
    recipe.at(0)
    other = dataclasses.replace(recipe, data=["0" * 64])
    with pytest.raises(
        ng.ExperimentError, match=r"this process: its data of task xor have the checksum \w{12}; .* have 000000000000"
    ):
        other.at(0)


class Killer:
    """Kills a worker at random whenever `tick` has been called `every` times since the last kill."""

    def __init__(self, seed: int, every: int):
        self.random, self.every, self.ticks, self.kills = random.Random(seed), every, 0, 0

    def tick(self, *_) -> None:
        import psutil

        def kill() -> None:
            with suppress(psutil.NoSuchProcess):
                workers = [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
                if workers:
                    self.random.choice(workers).kill()
                    self.kills += 1

        self.ticks += 1
        if self.ticks % self.every == 0:
            threading.Timer(self.random.uniform(0, 0.1), kill).start()  # in mid task


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing(tmp_path: Path):
    """Workers of 400 tasks, two evolutions and four runs are killed at random; what is found is what one process finds."""
    write_experiments(tmp_path)
    spec = load_experiment(tmp_path / "cma.yaml", ("training.meta_steps=40", "training.interval=1"))
    meta_train(spec, tmp_path / "alone", base=tmp_path)
    points = [plan_sweep(str(tmp_path / "cma.yaml"), [parse_axis("seed=0:4")], tmp_path / name) for name in ("here", "there")]
    train_all([point.run for point in points[0]], Here())
    kills = 0
    with make_executor(2) as executor:
        killer = Killer(0, every=6)
        tasks = [executor.submit(worker_tasks.slow_square, number) for number in range(400)]
        found = []
        for task in executor.as_completed(tasks):
            found.append(task.result())
            killer.tick()
        assert sorted(found) == [number**2 for number in range(400)]
        kills += killer.kills
        for name in "ab":
            killer = Killer(ord(name), every=3)
            meta_train(spec, tmp_path / name, base=tmp_path, executor=executor, progress=killer.tick)
            assert numbers(tmp_path / name) == numbers(tmp_path / "alone")
            assert genome_of(tmp_path / name) == genome_of(tmp_path / "alone")
            kills += killer.kills
        killer, ended = Killer(7, every=1), threading.Event()
        thread = threading.Thread(target=kill_at_checkpoints, args=(killer, tmp_path / "there", ended))
        thread.start()
        assert train_all([point.run for point in points[1]], executor) == {}
        ended.set()
        thread.join()
        kills += killer.kills
        for here, there in zip(*points, strict=True):
            assert numbers(here.run.folder) == numbers(there.run.folder)
            assert genome_of(here.run.folder) == genome_of(there.run.folder)
    print(f"{kills} kills")
    assert kills >= 100


def kill_at_checkpoints(killer: Killer, folder: Path, ended: threading.Event) -> None:
    """Kills a worker whenever a run has got to another checkpoint, as long as runs go on."""
    steps: dict[Path, int | None] = {}
    while not ended.wait(0.05):
        now = {path: checkpoint_step(path) for path in folder.glob("*/checkpoint")}
        if any(step != steps.get(path) for path, step in now.items()):
            killer.tick()
            steps = now


@pytest.mark.thorough
def test_a_script_without_a_main_guard_is_told_what_it_lacks(tmp_path):
    """Each process imports the script, and would start processes of its own."""
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        "from neurograph.experiments.workers import make_executor\n"
        "with make_executor(1) as executor:\n    print(executor.submit(abs, -3).result())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode
    assert 'has to stand under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
    text = (
        script.read_text().replace("with make", 'if __name__ == "__main__":\n  with make').replace("\n    print", "\n      print")
    )
    script.write_text(text)
    assert subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout == "3\n"
