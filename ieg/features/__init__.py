"""Images become vectors: backbones with fixed weights, and their files."""
