"""Runs keep their topology files: they go on, are done again and are reported when the originals have changed or gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from meta_runs import TWO, genome_of, numbers, write_experiments

import neurograph as ng
from neurograph.experiments.final import final_test
from neurograph.experiments.folder import topologies
from neurograph.experiments.folder.topologies import keep_topology, kept_topology
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.train import meta_train

SHORT = ("training.meta_steps=4", "unroll.grow_every=0", "training.replace=0", "training.genomes=1")
TEST = "{topologies: [two.yaml, mlp_2d_classes], at: [0, 1], seeds: 1, batch_size: 8, query_size: 8, baselines: []}"


class Stop(Exception):
    pass


def stop(record):
    raise Stop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    write_experiments(tmp_path / "files")
    return tmp_path


@pytest.mark.thorough
def test_a_run_goes_on_is_done_again_and_reported_without_its_files(folder: Path):
    files = folder / "files"
    spec = load_experiment(files / "gradient.yaml", (*SHORT, f"transfer={TEST}"))
    meta_train(spec, folder / "whole", base=files)

    def stop_late(record):
        if record["step"] == 4:  # after the checkpoint of step 2
            raise Stop

    with pytest.raises(Stop):
        meta_train(spec, folder / "run", base=files, progress=stop_late)
    assert (folder / "run/topologies/two.yaml").read_text() == TWO
    (files / "two.yaml").write_text(TWO.replace("hidden: 6", "hidden: 7"))
    genome, rule = meta_train(spec, folder / "run", base=files, resume=True)
    (files / "two.yaml").unlink()
    test = final_test(spec, folder / "run", genome, rule, base=files)
    assert numbers(folder / "run") == numbers(folder / "whole")
    assert genome_of(folder / "run") == genome_of(folder / "whole")
    assert test.notes["topologies"]["two.yaml"]["neurons"] == 10
    assert sorted(path.name for path in (folder / "run/topologies").iterdir()) == ["index.json", "two.yaml"]  # mlp_2d_classes: no

    meta_train(load_experiment(folder / "run/config.yaml"), folder / "again", base=folder / "run")
    assert genome_of(folder / "again") == genome_of(folder / "whole")
    assert (folder / "again/topologies/two.yaml").read_text() == TWO

    page = ng.write_report(folder / "run").read_text(encoding="utf-8")
    assert "two.yaml (learned on, tested on): 10 neurons, 24 synapses, depth 2" in page
    assert "not drawn" not in page
    assert "the file has changed since" not in page


@pytest.mark.thorough
def test_before_the_first_checkpoint_there_is_nothing_to_keep_to(folder: Path):
    spec = load_experiment(folder / "files/gradient.yaml", SHORT)
    with pytest.raises(Stop):
        meta_train(spec, folder / "run", base=folder / "files", progress=stop)
    assert not (folder / "run/checkpoint").exists()
    changed = TWO.replace("hidden: 6", "hidden: 7")
    (folder / "files/two.yaml").write_text(changed)
    meta_train(spec, folder / "run", base=folder / "files", resume=True)
    assert (folder / "run/topologies/two.yaml").read_text() == changed


def test_names_lead_to_their_own_copies(folder: Path, monkeypatch):
    for place in ("a", "b"):
        (folder / place).mkdir()
        (folder / place / "index.json").write_text(place)
        keep_topology(folder / "run", f"{place}/index.json", folder / place / "index.json")
    for place in ("a", "b"):
        path = kept_topology(folder / "run", f"{place}/index.json")
        assert path
        assert path.read_text() == place
    (folder / "a/index.json").write_text("new")
    keep_topology(folder / "run", "a/index.json", folder / "a/index.json")
    assert [kept_topology(folder / "run", f"{place}/index.json").read_text() for place in "ab"] == ["new", "b"]  # type: ignore[union-attr]
    assert kept_topology(folder / "run", "index.json") is None
    monkeypatch.setattr(topologies, "MAX_BYTES", 2)
    keep_topology(folder / "run", "c", folder / "a/index.json")
    assert kept_topology(folder / "run", "c") is None


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        '{"files": {"a": "two.yaml"}}',
        '{"format": "neurograph-kept-topologies", "files": [1]}',
        "LEADS OUTSIDE",
        "LOST",
    ],
)
def test_an_index_that_is_damaged_foreign_or_leads_outside_keeps_nothing(folder: Path, index: str):
    outside = json.dumps(
        {"format": topologies.FORMAT, "files": {"a": "../../files/two.yaml", "b": str(folder / "files/two.yaml")}}
    )
    lost = json.dumps({"format": topologies.FORMAT, "files": {"a": "gone.yaml", "b": 3}})
    (folder / "run/topologies").mkdir(parents=True)
    (folder / "run/topologies/index.json").write_text({"LEADS OUTSIDE": outside, "LOST": lost}.get(index, index))
    assert kept_topology(folder / "run", "a") is None
    assert kept_topology(folder / "run", "b") is None


@pytest.mark.thorough
def test_a_run_goes_on_and_is_done_again_from_the_genome_that_it_started_from(folder: Path):
    """Found beside the experiment at first, in the folder of the run when the file has changed."""
    files = folder / "files"
    start, _ = ng.backprop_genome()
    name, options = "first.json", (*SHORT, "start={genome: first.json}")
    ng.save_genome(files / name, start)
    spec = load_experiment(files / "gradient.yaml", options)
    meta_train(spec, folder / "whole", base=files)

    def stop_late(record):
        if record["step"] == 4:
            raise Stop

    with pytest.raises(Stop):
        meta_train(spec, folder / "run", base=files, progress=stop_late)
    (files / name).write_text("{}")
    with pytest.raises(ng.ExperimentError, match=r"start\.genome: .*first\.json: not a genome file"):
        meta_train(spec, folder / "other", base=files)
    meta_train(spec, folder / "run", base=files, resume=True)
    (files / name).unlink()
    meta_train(load_experiment(folder / "run/config.yaml"), folder / "again", base=folder / "run")
    for place in ("run", "again"):
        assert genome_of(folder / place) == genome_of(folder / "whole")
        assert numbers(folder / place) == numbers(folder / "whole")
