"""Loggers say what the metrics say; the real packages write locally."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import pytest

import neurograph as ng
from neurograph.experiments.loggers import LOGGERS, LoggedRun, make_logger, scalars_of

SMALL = {
    "name": "small",
    "problems": [{"task": "xor", "topology": "2-4-2"}],
    "unroll": {"steps": 2, "batch_size": 8, "query_size": 8},
    "training": {"meta_steps": 2, "interval": 1, "validate_every": 2, "genomes": 2, "validation_episodes": 1},
}


class Kept:
    def __init__(self, stop_at: int = 99):
        self.calls, self.stop_at = [], stop_at

    def start(self, run: LoggedRun) -> None:
        self.calls.append(("start", run.name, run.config["training"]["meta_steps"], run.step))

    def record(self, step: int, scalars: dict[str, float]) -> None:
        if step >= self.stop_at:
            raise KeyboardInterrupt
        self.calls.append((step, scalars))

    def close(self) -> None:
        self.calls.append("close")


def test_numbers_have_names_and_what_is_none_is_left_out():
    assert scalars_of({"step": 3, "loss": [0.5, None], "seconds": 1.5, "parents": [0, 1], "note": "x"}) == {
        "training/loss/genome_0": 0.5,
        "training/seconds": 1.5,
    }
    assert scalars_of({"step": 3, "validation": {"accuracy": [0.5, float("nan")]}}) == {"validation/accuracy/genome_0": 0.5}


@pytest.mark.thorough
@pytest.mark.thorough
def test_an_object_gets_every_record_once_and_again_what_is_computed_again(tmp_path: Path):
    whole, first, second = Kept(), Kept(stop_at=2), Kept()
    ng.meta_train(SMALL, tmp_path / "whole", test=False, loggers=[whole])
    with pytest.raises(KeyboardInterrupt):
        ng.meta_train(SMALL, tmp_path / "run", test=False, loggers=[first])
    ng.meta_train(SMALL, tmp_path / "run", test=False, resume=True, loggers=[second])
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert whole.calls[0] == ("start", "small", 2, 0)
    assert second.calls[0] == ("start", "small", 2, 1)
    assert first.calls[-1] == second.calls[-1] == "close"
    assert [(line["step"], scalars_of(line)) for line in lines] == [*first.calls[1:-1], *second.calls[1:-1]]
    timeless = lambda calls: [{k: v for k, v in one.items() if "seconds" not in k} for _, one in calls]  # noqa: E731
    assert timeless([*first.calls[1:-1], *second.calls[1:-1]]) == timeless(whole.calls[1:-1])


def test_what_is_no_logger_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(ng.ExperimentError, match="loggers: list lacks a method; expected start, record and close"):
        ng.meta_train(SMALL, tmp_path / "run", loggers=[[]])
    with pytest.raises(ng.ExperimentError, match="logger: got 'wandbb'; allowed: tensorboard, wandb, mlflow"):
        ng.meta_train(SMALL, tmp_path / "run", loggers=["wandbb"])
    with pytest.raises(ng.SpecError, match=r"loggers"):
        ng.meta_train(SMALL | {"loggers": ["wandbb"]}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("tensorboard", "tensorboardX", "tensorboard"), ("wandb", "wandb", "wandb"), ("mlflow", "mlflow.tracking", "mlflow")],
)
def test_without_the_package_the_extra_is_named(name, package, extra, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    named = rf"needs {package.split('.')[0]}, which is not installed: pip install 'neurograph\[{extra}\]'"
    with pytest.raises(ng.MissingExtraError, match=named):
        make_logger(name).start(LoggedRun(tmp_path, "x", {}, 0))
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
def test_a_missing_package_leaves_a_folder_in_which_the_run_can_begin(tmp_path: Path, monkeypatch):
    both = SMALL | {"loggers": ["tensorboard", "mlflow"]}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mlflow.tracking", None)
        with pytest.raises(ng.MissingExtraError, match="mlflow"):
            ng.meta_train(both, tmp_path / "run", test=False)
    assert not (tmp_path / "run/tensorboard").exists()
    ng.meta_train(SMALL, tmp_path / "run", test=False)


def written(name: str, folder: Path) -> None:
    """A run of three records that is stopped after two and goes on."""
    for start, steps in ((0, (1, 2)), (2, (3,))):
        logger = LOGGERS[name]()
        logger.start(LoggedRun(folder, "small", {"seed": 7, "training": {"genomes": [1, 2]}}, start))
        for step in steps:
            logger.record(step, {"training/loss/genome_0": step / 2})
        logger.close()


def test_mlflow(tmp_path: Path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    written("mlflow", tmp_path)
    client = MlflowClient((tmp_path / "mlflow/store").as_uri())
    [run] = client.search_runs([client.get_experiment_by_name("neurograph").experiment_id])
    history = client.get_metric_history(run.info.run_id, "training/loss/genome_0")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert run.data.params == {"seed": "7", "training.genomes.0": "1", "training.genomes.1": "2"}
    assert (run.info.run_name, run.info.status) == ("small", "FINISHED")


def stored(content: bytes) -> list[bytes]:
    """The records of a file of Weights & Biases: LevelDB's log format after seven bytes, blocks of 32 KiB."""
    assert content[:4] == b":W&B"
    found, place = [b""], 7
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        found[-1] += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            found.append(b"")
    return found[:-1]


def test_weights_and_biases(tmp_path: Path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    written("wandb", tmp_path)
    wandb.teardown()  # waits for the process of its own that writes the files; else this process's end does
    found, ids, config = [], set(), {}
    for file in sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb")):
        for data in stored(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                found.append({(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in items})
            elif record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert [(row["meta_step"], row["training/loss/genome_0"]) for row in found] == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert ids == {(tmp_path / "wandb/id").read_text().strip()}
    assert config["seed"] == 7
