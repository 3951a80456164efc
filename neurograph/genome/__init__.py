"""The genome of a learning rule: arrays, files and the zoo, per-layer genomes, and tools that extend, average and compare."""

from neurograph.genome.activations import ACTIVATIONS, with_derivative
from neurograph.genome.classics import CLASSICS, Classic, classic
from neurograph.genome.compare import Comparison, canonical_genome, compare_genomes
from neurograph.genome.files import GenomeFile, load_genome, load_genome_file, save_genome, zoo_names
from neurograph.genome.layers import AnyGenome, LayeredGenome, genome_of_neurons, genomes_of_stages
from neurograph.genome.model import Genome, backprop_genome, effective_fields
from neurograph.genome.rule import Rule
from neurograph.genome.text import format_genome
from neurograph.genome.tools import average_genomes, extend_genome
from neurograph.genome.vector import GenomeVector

__all__ = [
    "ACTIVATIONS",
    "CLASSICS",
    "AnyGenome",
    "Classic",
    "Comparison",
    "Genome",
    "GenomeFile",
    "GenomeVector",
    "LayeredGenome",
    "Rule",
    "average_genomes",
    "backprop_genome",
    "canonical_genome",
    "classic",
    "compare_genomes",
    "effective_fields",
    "extend_genome",
    "format_genome",
    "genome_of_neurons",
    "genomes_of_stages",
    "load_genome",
    "load_genome_file",
    "save_genome",
    "with_derivative",
    "zoo_names",
]
