"""The command as a user meets it: names, help, exit codes, JSON, errors in one paragraph, start-up."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import neurograph as ng
from neurograph import cli
from neurograph.cli import COMMANDS, main, run
from neurograph.errors import NeurographError
from neurograph.experiments.spec import load_experiment

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs the entry point in this process: (exit code, standard output, standard error)."""
    monkeypatch.delenv("NEUROGRAPH_DEBUG", raising=False)
    monkeypatch.chdir(ROOT)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            run(list(arguments))
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return invoke


def commands(group: click.Group, path: tuple[str, ...] = ()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(main))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_and_every_option_says_what_it_does(path):
    command = ALL[path]
    assert command.help
    speaking = ("detail", "split", "max_neurons", "max_synapses", "out")  # names that say it all
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.name in speaking, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(name, call):
    code, out, _ = call(name, "--help")
    assert code == 0
    if name != "quickstart":  # it is one
        assert f"neurograph {name}" in out.split("\n", 1)[1], "no example below the usage line"


def test_help_lists_all_commands_and_imports_none(call):
    code, out, _ = call("--help")
    assert code == 0
    for name, (_, _, line) in COMMANDS.items():
        assert name in out
        assert line.split()[0] in out
    assert "Exit codes" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "No such command 'trian'; did you mean 'train'?"),
        (["train"], 2, "Missing argument 'TASK'"),
        (["train", "digits", "--steps", "0"], 2, "--steps"),
        (["train", "digts"], 2, "digts"),
        (["train", "digits clases=0-4"], 2, "has no option 'clases'; did you mean 'classes'?"),
        (["task", "show", "digits classes=0-4", "--set", "classes=5-9"], 2, "option 'classes' is given twice"),
        (["analyze", "functions", "-t", "2-4-2", "-k", "xor noise"], 2, "got 'noise'; expected KEY=VALUE"),
        (["meta-train", "digits", "--set", "problems.0.task=digits clases=0-4"], 2, "did you mean 'classes'?"),
        (["train", "mnist", "--data-dir", "no/such"], 2, "looked for: no/such/mnist"),
        (
            ["meta-train", "digits", "--set", "problems.0.task=mnist size=8", "--data-dir", "no/such"],
            2,
            "looked for: no/such/mnist",
        ),
        (["train", "xor", "--genome", "functoins"], 2, "did you mean 'functions'"),
        (["train", "xor", "--topology", "mlp"], 2, "2 inputs"),
        (["train", "xor", "--baselines", "sgd,ridge"], 2, "--baselines: got 'ridge'; allowed: none, sgd, momentum, adam, linear"),
        (
            ["train", "digits validation=0", "--steps", "1", "--runs", "1", "--batch", "4"],
            2,
            "has no validation split, on which baselines are chosen",
        ),
        (["train", "xor", "--out", "no/such/folder/a.json"], 2, "there is no folder"),
        (["topology", "show", "nosuch"], 2, "allowed: bottleneck, "),
        (["topology", "check", "nosuch.yaml"], 1, "nosuch.yaml"),
        (["plan", "nosuch"], 2, "no shipped topology"),
        (["plan", "mpl"], 2, "mpl: no such file, and no shipped topology of that name; did you mean 'mlp'?"),
        (["plan", "residual.yaml"], 2, "residual.yaml: there is no such file; did you mean the shipped 'residual'?"),
        (["plan", "graphs/mlp"], 2, "graphs/mlp: there is no such file; did you mean the shipped 'mlp'?"),
        (["train", "digits", "--topology", "graphs/residual.yaml"], 2, "graphs/residual.yaml: there is no such file; did you"),
        (["train", "digits", "--genome", "genomes/digits"], 2, "genomes/digits: there is no such file; did you mean the"),
        (["transfer", "digits", "-t", "nowhere/mlp.yaml", "-k", "digits"], 2, "nowhere/mlp.yaml: there is no such file"),
        (["transfer", "digits", "nowhere/mlp.yaml", "digits"], 2, "nowhere/mlp.yaml: no such file, and no genome or topology"),
        (["bench", "nowhere/mlp.yaml"], 2, "nowhere/mlp.yaml: there is no such file"),
        (["analyze", "functions", "--topology", "nowhere/mlp.yaml", "--task", "xor"], 2, "there is no such file"),
        (["meta-train", "nowhere/digits.yaml"], 2, "nowhere/digits.yaml: there is no such file; did you mean the shipped 'dig"),
        (["meta-train", "digits", "--set", "problems.0.topology=nowhere/mlp.yaml"], 2, "problems[0].topology: nowhere/mlp.yaml"),
        (["report", "nosuch"], 2, "no such folder"),
        (["completion", "tcsh"], 2, "tcsh"),
    ],
)
def test_wrong_use_is_one_paragraph(call, arguments, code, message):
    found, out, err = call(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert "\n\n" not in err.strip().replace("for help.\n\nError", "")


def test_a_folder_of_that_name_does_not_hide_what_is_shipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "mlp"):
        (tmp_path / name).mkdir()
    assert ng.load_genome_file("digits").rule
    assert ng.load_topology("mlp").title
    assert load_experiment("digits").name == "digits"
    with pytest.raises(ng.GenomeError, match=r"cannot be read \(Is a directory\)"):
        ng.load_genome("./digits")


def broken(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (NeurographError("that is wrong"), cli.USE, "error: that is wrong\n"),
        (ZeroDivisionError("one by\nzero"), cli.BUG, "ZeroDivisionError: one by zero"),
        (KeyboardInterrupt(), 130, "stopped.\n"),
        (MemoryError(), cli.USE, "out of memory"),
        (PermissionError(13, "Permission denied", "here.json"), cli.USE, "error: here.json: Permission denied\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_goes_wrong_inside(call, monkeypatch, error, code, message):
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: broken(error))
    found, out, err = call("plan")
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    if code == cli.BUG:
        assert "Please report it" in err
        assert "neurograph plan" in err


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_traceback_when_asked_for(monkeypatch, how):
    monkeypatch.setenv("NEUROGRAPH_DEBUG", "1" if how == "environment" else "0")
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: broken(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run([*(["--debug"] if how == "option" else []), "plan"])


JSON = [
    (["topology", "show", "tiny", "--json"], "neurons"),
    (["topology", "list", "--json"], None),
    (["topology", "check", "topologies/tiny.yaml", "--json"], None),
    (["plan", "tiny", "--json"], "blocks"),
    (["task", "list", "--json"], None),
    (["task", "show", "xor", "--json"], "inputs"),
    (["train", "xor", "--genome", "functions", "--steps", "2", "--runs", "2", "--baselines", "none", "--json"], "curve"),
    (["bench", "mlp_2d_classes", "--batch", "8", "--repeat", "2", "--no-gradient", "--json"], "measured"),
]


@pytest.mark.parametrize(("arguments", "key"), JSON, ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "")
def test_json_is_all_that_is_printed(call, arguments, key):
    code, out, _ = call(*arguments)
    assert code == 0
    data = json.loads(out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert key is None or key in data


@pytest.mark.parametrize("topology", ["residual", "irregular_dag", "convolution"])
def test_plan_fits_a_terminal_and_explains_every_block(call, monkeypatch, topology):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call("plan", topology, "--rows", "99")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    blocks = json.loads(call("plan", topology, "--json")[1])["blocks"]
    told = json.loads(call("plan", topology, "--json")[1])
    for where, words in {"in a transfer": told["transfer"], "in meta-training": told["training"]}.items():
        assert f"{where}: {words}" in " ".join(out.split())
    assert told["transfer"].startswith("as data from" if topology != "convolution" else "a program of its own")
    rows = re.findall(r"^[\d-]+ +\w.* \((\d+)\)$", out, flags=re.MULTILINE)
    reasons = dict(re.findall(r"^\((\d+)\) (.*?)(?=\n\(|\nin all)", out, flags=re.MULTILINE | re.DOTALL))
    assert [" ".join(reasons[row].split()) for row in rows] == [block["why"] for block in blocks]


def test_a_large_file_shows_its_stages_in_a_terminal(call, tmp_path, monkeypatch):
    path = tmp_path / "big.csv"
    ng.save_topology(ng.mlp(4, 30, 3), path)
    assert call("plan", str(path))[2] == ""
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert call("plan", str(path))[2] == ""  # small
    monkeypatch.setattr("neurograph.cli.loading.LARGE", 1)
    code, _, err = call("plan", str(path))
    assert code == 0
    for stage in ("reading big.csv, 0 MB", "checking 210 synapses", "planning 37 neurons", "in a transfer"):
        assert stage in err


def test_plan_explains_what_a_gpu_would_take(call):
    told = json.loads(call("plan", "small_world", "--device", "gpu", "--json")[1])
    assert told["device"] == "gpu"
    times = {name: cost["seconds"] for name, cost in told["compared"].items() if name != "padded"}
    assert told["kernel"] == min(times, key=times.__getitem__)
    code, out, _ = call("plan", "small_world", "--device", "gpu")
    assert code == 0
    assert f"on a GPU auto takes {told['kernel']}, by a rule that is not measured on one" in " ".join(out.split())
    for name, cost in told["compared"].items():
        assert re.search(rf"^  {name}: {cost['launches']:,} launches, ", out, flags=re.MULTILINE)
    assert "kernel" not in json.loads(call("plan", "small_world", "--device", "cpu", "--json")[1])


def test_train_prints_a_curve_and_writes_it(call, tmp_path):
    path = tmp_path / "curve.json"
    small = ("--genome", "functions", "--topology", "mlp_2d_classes", "--steps", "12", "--runs", "2", "--batch", "64")
    code, out, _ = call("train", "circle", *small, "--out", str(path))
    assert code == 0
    data = json.loads(path.read_text())
    assert [row["step"] for row in data["curve"]] == [0, 1, 2, 5, 10, 12]
    assert all(len(row["accuracy"]) == 2 for row in data["curve"])
    assert min(data["curve"][-1]["accuracy"]) > max(0.8, *data["curve"][0]["accuracy"])
    shown = re.findall(r"^ +(\d+) +(\d\.\d+)", out, flags=re.MULTILINE)
    assert [int(step) for step, _ in shown] == [0, 1, 2, 5, 10, 12]
    assert (data["on"], data["metric"]) == ("test", "accuracy")
    descent, linear = data["baselines"]["descent"], data["baselines"]["linear"]
    assert [row["step"] for row in descent["curve"]] == [0, 1, 2, 5, 10, 12]
    assert (descent["configurations"], descent["runs"], len(linear["accuracy"])) == (18, 54, 2)
    assert sorted(descent["curve"][-1]["accuracy"])[0] > 0.7
    assert "descent: sgd or adam (relu, on the same graph and batches), the best on validation data" in out
    assert "logistic regression of scikit-learn on 768 different rows of the same batches: 0." in out
    again = tmp_path / "again.json"
    call("train", "circle", *small, "--out", str(again))
    assert again.read_text() == path.read_text()


@pytest.mark.thorough
def test_train_on_numbers_names_its_metric(call, tmp_path):
    lines = [f"{a / 10},{b / 10},{a * b}" for a in range(-10, 11) for b in range(-10, 11)]
    (tmp_path / "product.csv").write_text("\n".join(["a,b,price", *lines]))
    words = [f"csv:{tmp_path / 'product.csv'} label=price target=number", "--steps", "20", "--runs", "1", "--batch", "64"]
    code, out, _ = call("train", *words, "--baselines", "sgd,linear", "--split", "validation")
    assert code == 0
    assert "R^2 (1: exact, 0: the mean) on validation data, 1 run\n" in out
    assert "The genome's feedback is mse here, in place of softmax_cross_entropy, which is for classes." in out
    assert re.search(
        r"ridge regression of scikit-learn on \d+ different rows of the same batches: -?0.0", out
    )  # no line is a product
    assert "These are judged on the rows that they were chosen on; --split test judges on others." in " ".join(out.split())
    last = json.loads(call("train", *words, "--baselines", "none", "--split", "validation", "--json")[1])
    assert (last["metric"], last["baselines"]) == ("r2", {})
    assert last["curve"][-1]["r2"][0] > 0.3


@pytest.mark.thorough  # compiles a meta-gradient
def test_bench_measures_what_it_says(call):
    code, out, _ = call("bench", "mlp_2d_classes", "--batch", "8", "--steps", "2", "--repeat", "2")
    assert code == 0
    assert re.search(r"^learning step +\d", out, flags=re.MULTILINE)
    assert re.search(r"^meta-gradient \(2\) +\d", out, flags=re.MULTILINE)
    assert "memory predicted" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(call, shell):
    code, out, _ = call("completion", shell)
    assert code == 0
    assert "_NEUROGRAPH_COMPLETE" in out


def test_completion_completes():
    from click.shell_completion import ShellComplete

    complete = ShellComplete(main, {}, "neurograph", "_NEUROGRAPH_COMPLETE")
    assert {item.value for item in complete.get_completions([], "t")} >= {"topology", "task", "train"}
    assert "--topology" in {item.value for item in complete.get_completions(["train"], "--")}


def test_a_reader_that_leaves_early_is_no_error():
    code = "from neurograph.cli import run; run(['topology', 'list', '--builders', '--json'])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) in ((cli.OK, b""), (cli.PIPE, b""))


HEAVY = {"jax", "jaxlib", "optax", "sklearn", "matplotlib", "cma", "scipy.optimize", "pandas"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["topology", "show", "mlp"], ["topology", "list"], ["plan", "--help"], ["train", "-h"]],
)
def test_commands_that_need_no_jax_load_none(arguments):
    code = (
        f"import sys\nfrom neurograph.cli import run\ntry: run({arguments})\nexcept SystemExit: pass\n"
        f"print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "[]"


def test_showing_an_acyclic_graph_loads_neither_scipy_nor_networkx():
    code = "import sys\nfrom neurograph.cli import run\ntry: run(['topology', 'show', 'residual'])\nexcept SystemExit: pass\n"
    code += "print({'scipy', 'networkx'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("module", ["neurograph"])
def test_the_package_is_the_command(module):
    command = [sys.executable, "-m", module, "topology", "show", "nosuch"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == cli.USE
    assert done.stderr.startswith("error: nosuch: no such file")
    assert (
        "Usage: neurograph [OPTIONS]"
        in subprocess.run([*command[:3], "--help"], capture_output=True, text=True, check=True).stdout
    )


def test_every_module_of_the_table_exists():
    for name, (module, attribute, line) in COMMANDS.items():
        command = getattr(importlib.import_module(module), attribute)
        assert command.name == name
        assert line.endswith(".")
