"""One page of all reproductions: a table (claim, what was seen, verdict) and their figures, from the result files alone."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError
from neurograph.files import write_atomically
from neurograph.reproduce import REPRODUCTIONS, SCALES
from neurograph.reproduce.verdict import Result

__all__ = ["load_results", "write_page"]

HEADER = """# {title}

Made by `neurograph reproduce --page` from runs of `neurograph reproduce {names} --scale {scale}{recipe}`; do not edit.
The paper: Sandler, Vladymyrov, Zhmoginov, Miller, Jackson, Madams and Agüera y Arcas, "Meta-Learning Bidirectional Update
Rules", ICML 2021. Its claims are in our words. Genomes, settings and the baselines' learning rates were chosen on data cut from
the training set; test data were touched once per finished genome. "Lost" are meta-training runs in which every genome diverged.
"""

OLD_STARTS = ("gradient descent under batch normalization", "gradient descent with batch normalization")
"""What results call a start that left out batch normalization's derivative; those of today say `through`."""

NOTICE = (
    "**Made before a correction, and not run again yet.** The start that is called gradient descent here left out batch"
    " normalization's derivative, so it was not gradient descent: measured on shipped graphs, the cosine between one of its steps"
    " and the gradient was 0.47 to 0.88 at the first step, and on a small random graph a step was off by up to 180 %. In cycles"
    " products of slopes and feedback compounded from tick to tick, and ticks were fewer and not damped. The experiment starts"
    " from gradient descent through batch normalization now."
)

VERSIONS = "Versions: "

EARLIER = (
    "**Made by an earlier version of this reproduction, with fewer variants or other claims, and not run again yet.** The sizes"
    " above are today's."
)


def load_results(out: Path, scale: str) -> list[Result]:
    """Returns the results at a scale, in the order of the registry.

    Raises:
      ExperimentError: nothing there, or a damaged file, which is named.
    """
    found = []
    for name in REPRODUCTIONS:
        path = out / scale / name / "result.json"
        if path.exists():
            try:
                found.append(Result.from_dict(parse_json(path.read_text(encoding="utf-8"))))
            except (ValueError, KeyError, TypeError) as error:
                raise ExperimentError(f"{path}: not a result of a reproduction ({type(error).__name__}: {error})") from error
    if not found:
        raise ExperimentError(f"{out / scale}: no reproduction there; run `neurograph reproduce all --scale {scale} --out {out}`")
    return found


def write_page(out: Path, scale: str, path: Path, figures: Path, *, update: bool = False) -> Path:
    """Writes the page and copies its figures to the folder `figures`, which the page links to relatively.

    Args:
      update: of a page that is there, what `out` has no results of stays, word for word.

    Raises:
      ExperimentError: as `load_results`; an unknown scale.
    """
    if scale not in SCALES:
        raise ExperimentError(f"scale: got {scale!r}; allowed: {', '.join(SCALES)}")
    results = {result.name: result for result in load_results(out, scale)}
    figures.mkdir(parents=True, exist_ok=True)
    parts = _kept(path.read_text(encoding="utf-8")) if update and path.exists() else {}
    parts |= {name: (_rows(one), _section(one, out / scale / name, path, figures)) for name, one in results.items()}
    printed = all(one.recipe != "shipped" for one in results.values())
    shown = [parts[name] for name in REPRODUCTIONS if name in parts]
    lines = [_header(scale, printed), "| | claim | seen here | verdict |", "|---|---|---|---|"]
    lines += [row for rows, _ in shown for row in rows]
    able = [name for name, entry in REPRODUCTIONS.items() if entry.any_recipe or not printed]
    if missing := [name for name in able if name not in parts]:
        lines += ["", f"Not run at this scale: {', '.join(missing)}."]
    lines += [line for _, section in shown for line in ("", *section)]
    versions = next(iter(results.values())).environment.get("packages", {})
    lines += ["", VERSIONS + ", ".join(f"{name} {version}" for name, version in versions.items() if version) + "."]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join(lines) + "\n")
    return path


def _header(scale: str, printed: bool) -> str:
    title, names, recipe = "Reproduction of the paper", "all", ""
    if printed:
        title, names, recipe = f"{title}, by the printed recipe", "NAME...", " --recipe printed"
    return HEADER.format(title=title, names=names, scale=scale, recipe=recipe)


def _rows(result: Result) -> list[str]:
    """Returns the rows of the table, one per finding."""
    rows = []
    for number, finding in enumerate(result.findings):
        first = f"[{result.figure}](#{_anchor(result.title)})" if number == 0 else ""
        mark = "-" if finding.holds is None else finding.mark
        rows.append(f"| {first} | {_cell(finding.claim)} | {_cell(finding.seen)} | {mark} |")
    return rows


def _section(result: Result, folder: Path, path: Path, figures: Path) -> list[str]:
    """Returns the lines of a section; its figures are copied from `folder`."""
    lines = [f"## {result.title}", "", f"{result.figure[:1].upper()}{result.figure[1:]}: **{result.verdict}**.", ""]
    lines += [*_sizes(result), ""]
    if result.version < REPRODUCTIONS[result.name].version:
        lines += [EARLIER, ""]
    if any(words in result.settings for words in OLD_STARTS):
        lines += [NOTICE, ""]
    lines += [finding.text("- *{claim}.* **{mark}**: ") for finding in result.findings]
    lines += ["", f"{result.counting} {result.settings}", ""]
    for name in (name for name in result.files if name.endswith(".png")):
        target = figures / f"{result.name}-{name}"
        shutil.copyfile(folder / name, target)
        lines.append(f"![{result.title}]({Path(os.path.relpath(target, path.parent)).as_posix()})")
    return lines


def _kept(text: str) -> dict[str, tuple[list[str], list[str]]]:
    """Returns the rows and the section of every reproduction that a page has."""
    head, *sections = text.split("\n## ")
    rows: dict[str, list[str]] = {}
    anchor = ""
    for line in head.splitlines():
        if found := re.match(r"\| (?:\[.*?\]\(#([^)]*)\))? \| ", line):
            anchor = found[1] or anchor
            rows.setdefault(anchor, []).append(line)
    parts = {}
    for section in sections:
        title, body = section.split("\n", 1)
        body = body.split(f"\n{VERSIONS}")[0].rstrip("\n")
        if name := re.search(r"`neurograph reproduce (\w+) ", body):
            parts[name[1]] = rows.get(_anchor(title), []), [f"## {title}", *body.splitlines()]
    return parts


def _sizes(result: Result) -> list[str]:
    """Returns what is shown, and the command and expected time of each scale, as lines of a paragraph."""
    from neurograph.reproduce.plan import plan  # reads experiments and graphs, which a page without results need not

    recipe = "" if result.recipe == "shipped" else f" --recipe {result.recipe}"
    runs = "" if result.seeds is None else f" --runs {result.seeds}"
    command = f"`neurograph reproduce {result.name} --scale {{}}{recipe}{{}}`"
    entry = REPRODUCTIONS[result.name]
    by = f"the {result.recipe} recipe, " if entry.any_recipe else "a recipe of its own, " if entry.trains else ""
    lines = [
        f"Shown: {by}{command.format(result.scale, runs)}. What each scale meta-trains before its first"
        " test, with the expected time, good to a factor of three; tests come on top.",
        f"{command.format('smoke', '')}: seconds to minutes, on embedded data.",
    ]
    return [*lines, *(f"{command.format(scale, '')}: {plan(result.name, scale, result.recipe).words}." for scale in SCALES[1:])]


def _anchor(title: str) -> str:
    text = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return text.replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
