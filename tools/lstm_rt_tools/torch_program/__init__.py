"""PyTorch's files that hold a graph, ``.pt2`` and TorchScript, as programs of the closed vocabulary."""
