"""One name for one meaning, and one meaning for one name: options of all commands beside the table of docs/command_line.md."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from neurograph.cli import main

TABLE = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
DOCUMENTED = {name for row in re.findall(r"^\| (`--.*?) \|", TABLE, re.M) for name in re.findall(r"--[a-z-]+", row)}
SHORT = {"--out": "-o", "--topology": "-t", "--task": "-k"}
FORBIDDEN = {
    *("--output", "--file", "--picture", "--image", "--outfile", "--folder", "--output-dir", "--save"),
    *("--option", "--override", "--seeds", "--repeats", "--repetitions", "--random-seed", "--on", "--graph", "--model", "--rule"),
    *("--batch-size", "--query-size", "--learning-steps", "--num-steps", "--continue", "--restart", "--overwrite", "--dataset"),
}
# transfer judges at several step counts, on several graphs and tasks: what one has elsewhere stands there as a list
LISTS = {("transfer", "--steps"), ("transfer", "--topology"), ("transfer", "--task")}


def commands(group: click.Group, path: str = ""):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}".strip())
        else:
            yield f"{path} {name}".strip(), command


ALL = dict(commands(main))


def options():
    """Every option that help shows, as (command, its long name, itself)."""
    for path, command in ALL.items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                (name,) = [spelling for spelling in option.opts if spelling.startswith("--")]
                yield path, name, option


def test_one_name_has_one_kind_of_value_and_one_short_form():
    kinds = defaultdict(set)
    for path, name, option in options():
        short = [spelling for spelling in option.opts if not spelling.startswith("--")]
        assert short == [SHORT[name]] if name in SHORT else not short, (path, option.opts)
        if (path, name) not in LISTS:
            kind = "text" if isinstance(option.type, click.types.StringParamType) else type(option.type).__name__
            kinds[name].add((kind, option.is_flag, option.multiple, tuple(option.secondary_opts)))
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_names_that_commands_share_are_documented_and_have_no_synonyms():
    users = defaultdict(set)
    for path, name, _ in options():
        users[name].add(path)
    assert {name for name, paths in users.items() if len(paths) > 1} == DOCUMENTED
    assert not FORBIDDEN & set(users)


def test_help_of_a_shared_name_says_the_same():
    """Those that every command means alike, word for word; others say what they write or set."""
    own = {
        "--out",
        "--set",
        "--steps",
        "--runs",
        "--split",
        "--topology",
        "--task",
        "--batch",
        "--states",
        "--align",
        "--baselines",
    }
    helps = defaultdict(set)
    for _, name, option in options():
        helps[name].add(option.help)
    assert {name: found for name, found in helps.items() if len(found) > 1 and name not in own} == {}


BEFORE = [
    ("topology draw", "mlp --output a.svg", "out", Path("a.svg"), "--output is called --out now"),
    ("topology show", "mlp --draw a.svg", "out", Path("a.svg"), "--draw is called --out now"),
    ("topology sample", "--output a", "out", Path("a"), "--output is called --out now"),
    ("topology sample", "--inputs 3", "inputs", 3, "--inputs is called --num-inputs now"),
    ("topology sample", "--outputs=4", "outputs", 4, "--outputs is called --num-outputs now"),
    ("task show", "xor --picture a.png", "out", Path("a.png"), "--picture is called --out now"),
    ("task show", "xor --option a=1 --option b=2", "overrides", ("a=1", "b=2"), "--option is called --set now"),
    ("task prepare", "mnist --option a=1", "overrides", ("a=1",), "--option is called --set now"),
    ("train", "xor --on test", "split", "test", "--on is called --split now"),
    ("analyze", "a --topology b --task c --states 7", "states", 7, "--states is called --metric-states now"),
    ("reproduce", "all --seeds 2", "runs", 2, "--seeds is called --runs now"),
    ("transfer", "a --validation-seeds 2", "validation_runs", 2, "--validation-seeds is called --validation-runs now"),
    ("transfer", "a --batch-size 2", "batch", 2, "--batch-size is called --batch now"),
]


@pytest.mark.parametrize(("path", "words", "name", "value", "line"), BEFORE)
def test_names_of_before_work_and_say_the_new_one(path, words, name, value, line, capsys):
    context = ALL[path].make_context(path, words.split())
    assert context.params[name] == value
    assert set(capsys.readouterr().err.splitlines()) == {line}
    spelling = line.split(" ")[0]
    assert not re.search(rf"{spelling}\b(?!-)", ALL[path].get_help(context).replace("--outputs-may-project", ""))


@pytest.mark.parametrize("command", ["show", "prepare"])
def test_an_option_of_a_task_by_its_short_form_of_before_is_refused_with_the_new_name(command):
    result = CliRunner().invoke(main, ["task", command, "xor", "-o", "label=cultivar"])
    assert result.exit_code == 2
    assert "did you mean --set label=cultivar?" in result.output


def test_the_values_in_effect_are_told(tmp_path):
    lines = [f"{number / 10},{number % 3},{'xy'[number % 2]}" for number in range(12)]
    (tmp_path / "wine.csv").write_text("\n".join(["a,b,cultivar", *lines]))
    result = CliRunner().invoke(main, ["task", "show", f"csv:{tmp_path / 'wine.csv'}", "--set", "label=cultivar"])
    assert result.exit_code == 0, result.output
    assert "  options     label=cultivar, delimiter=','" in result.output
    assert "  classes     x, y\n" in result.output
