"""Genome files: readable, versioned JSON; and the zoo of genomes shipped with the package."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from neurograph._lazy import from_above
from neurograph.documents import named_file, parse_json
from neurograph.errors import GenomeError
from neurograph.files import write_atomically
from neurograph.genome.classics import CLASSICS
from neurograph.genome.layers import AnyGenome, LayeredGenome
from neurograph.genome.model import Genome
from neurograph.genome.rule import Rule

__all__ = [
    "GENOME_SETS",
    "GenomeFile",
    "genome_file",
    "genome_sources",
    "load_genome",
    "load_genome_file",
    "save_genome",
    "zoo_names",
]

FORMAT = "neurograph-genome"
VERSION, LAYERED_VERSION = 1, 2
ZOO = Path(__file__).parent / "zoo"

GENOME_SETS: dict[str, tuple[str, ...]] = {"classics": tuple(CLASSICS)}
"""Words that stand for several genomes of the zoo, where several are taken."""


@dataclass(frozen=True)
class GenomeFile:
    """The content of a genome file: the genome, the rule it was learned under (or None) and its card (free JSON data).

    Examples:
      >>> import neurograph as ng
      >>> file = ng.load_genome_file("functions")
      >>> isinstance(file, ng.GenomeFile), file.genome.states, file.rule.states
      (True, 2, 2)
    """

    genome: AnyGenome
    rule: Rule | None
    card: dict[str, Any]

    def __repr__(self) -> str:
        description = str(self.card.get("description") or "")
        words = f", {description[:60]!r}{'...' * (len(description) > 60)}" if description else ""
        return f"GenomeFile({self.genome!r}, {'with' if self.rule else 'without'} a rule{words})"

    def _repr_html_(self) -> str:
        return from_above("report.notebook.genome", "genome_file_html")(self)

    @property
    def trained_steps(self) -> int | None:
        """How many learning steps its meta-training went through at most, if the card tells."""
        told = self.card.get("trained_steps")
        return told if isinstance(told, int) and not isinstance(told, bool) and 0 < told < 2**31 else None

    def draw(self, path: str | os.PathLike[str] | None = None, *, title: str = "") -> Any:
        """Draws the genome under its rule: see `Genome.draw`."""
        return self.genome.draw(path, rule=self.rule, title=title)


def save_genome(
    path: str | os.PathLike[str], genome: AnyGenome, rule: Rule | None = None, card: dict[str, Any] | None = None
) -> Path:
    """Write a genome as readable JSON, atomically; returns the path.

    Examples:
      >>> import neurograph as ng
      >>> genome, rule = ng.backprop_genome(0.1)
      >>> path = ng.save_genome("mine.json", genome, rule, {"description": "gradient descent"})
      >>> ng.load_genome_file(path).card["description"]
      'gradient descent'
    """
    path = Path(path)
    version = LAYERED_VERSION if isinstance(genome, LayeredGenome) else VERSION
    data = {"format": FORMAT, "version": version, "states": genome.states, "card": card or {}}
    data["rule"] = rule.to_dict() if rule else None
    if isinstance(genome, LayeredGenome):
        data["layers"] = {"by": genome.by, "genomes": genome.to_dict()}
    else:
        data["arrays"] = genome.to_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _dump(data) + "\n")
    return path


def zoo_names() -> list[str]:
    """Returns the names of the genomes shipped with the package.

    Examples:
      >>> import neurograph as ng
      >>> "digits" in ng.zoo_names()
      True
    """
    return sorted(path.stem for path in ZOO.glob("*.json"))


def genome_sources(source: Any) -> list[Any]:
    """What a word stands for where several genomes are taken: the names of a set, unless a file is called so; else itself."""
    if isinstance(source, str) and source in GENOME_SETS and not os.path.isfile(source):
        return [*GENOME_SETS[source]]
    return [source]


def genome_file(source: str | os.PathLike[str], beside: Path | None = None) -> Path:
    """The file of a genome: a path (also relative to the folder `beside`), or a name of the zoo, such as "digits".

    Raises:
      GenomeError: no such file and no such name, or a word that stands for several genomes.
    """
    shipped = {name: ZOO / f"{name}.json" for name in zoo_names()} | dict.fromkeys(GENOME_SETS, ZOO)
    path = named_file(source, shipped, "genome", GenomeError, beside)
    if path == ZOO and (names := GENOME_SETS.get(os.fspath(source))):
        raise GenomeError(f"{source}: stands for {len(names)} genomes; expected one of them: {', '.join(names)}")
    return path


def load_genome_file(source: str | os.PathLike[str]) -> GenomeFile:
    """Read a genome file, or a genome of the zoo by name.

    Raises:
      GenomeError: no such file or name, not JSON, another format or version, wrong arrays.

    Examples:
      >>> import neurograph as ng
      >>> ng.load_genome_file("digits").rule.states
      4
    """
    path = genome_file(source)
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GenomeError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise GenomeError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise GenomeError(f'{path}: not a genome file; expected "format": "{FORMAT}"')
    if data.get("version") not in (VERSION, LAYERED_VERSION):
        raise GenomeError(
            f"{path}: version {data.get('version')!r} of the format; this neurograph reads versions {VERSION} and"
            f" {LAYERED_VERSION}"
        )
    for name in ("rule", "card"):
        if not isinstance(data.get(name), (dict, type(None))):
            raise GenomeError(f"{path} at {name}: got {type(data[name]).__name__}; expected an object, or null")
    try:
        genome = (
            _layered(data["layers"]) if data["version"] == LAYERED_VERSION and "layers" in data else _shared(data.get("arrays"))
        )
        rule = Rule.from_dict(data["rule"]) if data.get("rule") else None
    except _Misplaced as error:
        raise GenomeError(f"{path}{error}") from error
    except (TypeError, ValueError) as error:
        raise GenomeError(f"{path}: {error}") from error
    genome = genome.astype(jnp.result_type(float))
    if rule and rule.states != genome.states:
        raise GenomeError(f"{path}: the rule has states: {rule.states}, the arrays have {genome.states}")
    return GenomeFile(genome, rule, data.get("card") or {})


class _Misplaced(ValueError):
    """A fault whose text begins with its place in the file."""


def _shared(arrays: Any, where: str = "arrays") -> Genome:
    if not isinstance(arrays, dict) or not arrays:
        raise _Misplaced(f" at {where}: expected an object with the genome's arrays")
    return Genome.from_arrays(**{str(name): np.asarray(value, dtype=np.float64) for name, value in arrays.items()})


def _layered(layers: Any) -> LayeredGenome:
    if not isinstance(layers, dict) or not isinstance(layers.get("genomes"), dict) or not isinstance(layers.get("by"), str):
        raise _Misplaced(' at layers: expected {"by": "depth", "role" or "population", "genomes": {name: arrays}}')
    genomes = {}
    for name, arrays in layers["genomes"].items():
        try:
            genomes[str(name)] = _shared(arrays, f"layers.genomes.{name}")
        except GenomeError as error:
            raise _Misplaced(f" at layers.genomes.{name}: {error}") from error
    return LayeredGenome.from_genomes(genomes, layers["by"])


def load_genome(source: str | os.PathLike[str]) -> AnyGenome:
    """Returns the genome of a file or of the zoo; `load_genome_file` also gives its rule and card.

    Examples:
      >>> import neurograph as ng
      >>> ng.load_genome("digits").states
      4
    """
    return load_genome_file(source).genome


def _dump(data: Any, indent: str = "") -> str:
    """JSON with one line per matrix row: readable in a diff."""
    inner = indent + "  "
    if isinstance(data, dict) and data:
        rows = [f"{inner}{json.dumps(str(key))}: {_dump(value, inner)}" for key, value in data.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(data, list) and data and isinstance(data[0], (list, dict)):
        return "[\n" + ",\n".join(f"{inner}{_dump(value, inner)}" for value in data) + f"\n{indent}]"
    return json.dumps(data, ensure_ascii=False)
