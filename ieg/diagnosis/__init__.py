"""Whether a machine can train: what it is, and what follows from that."""
