"""Images in files and in arrays."""
