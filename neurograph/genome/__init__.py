"""The genome of a learning rule: arrays, files and the zoo, per-layer genomes, and tools that extend, average and compare."""

from neurograph.genome.files import GenomeFile, load_genome, load_genome_file, save_genome, zoo_names
from neurograph.genome.layers import AnyGenome, LayeredGenome, genome_of_neurons, genomes_of_stages
from neurograph.genome.model import Genome, backprop_genome, effective_fields

__all__ = [
    "AnyGenome",
    "Genome",
    "GenomeFile",
    "LayeredGenome",
    "backprop_genome",
    "effective_fields",
    "genome_of_neurons",
    "genomes_of_stages",
    "load_genome",
    "load_genome_file",
    "save_genome",
    "zoo_names",
]
