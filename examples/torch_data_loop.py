"""Batches from a torch DataLoader (from plain NumPy where torch is not installed): arrays of any kind may be handed in."""

import sys

import jax
import numpy as np
from sklearn.datasets import load_digits

import neurograph as ng

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
x, labels = load_digits(return_X_y=True)
x = ((x - x.mean()) / x.std()).astype(np.float32)
train, test = slice(0, 1400), slice(1400, None)

try:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.from_numpy(x[train]), torch.from_numpy(labels[train]))
    loader = DataLoader(data, batch_size=100, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(0))
    source = "torch"
except ImportError:
    order = np.random.default_rng(0).permutation(1400).reshape(-1, 100)
    loader = [(x[rows], labels[rows]) for rows in order]
    source = "NumPy (torch is not installed)"

file = ng.load_genome_file("digits")
network = ng.Network(ng.load_topology("topologies/mlp.yaml"), file.rule)
synapses = network.init(file.genome, key=jax.random.key(0))
for epoch in range(epochs):
    for batch_x, batch_labels in loader:
        y = 2.0 * np.eye(10)[np.asarray(batch_labels)] - 1.0  # +1 for the class, -1 elsewhere
        synapses, _ = network.step(file.genome, synapses, np.asarray(batch_x), y)
    guess = np.asarray(network.predict(file.genome, synapses, x[test])).argmax(1)
    print(f"epoch {epoch + 1}, batches from {source}: test accuracy {(guess == labels[test]).mean():.3f}")
