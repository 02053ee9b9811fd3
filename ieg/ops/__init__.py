"""Mathematics on tensors and arrays."""
