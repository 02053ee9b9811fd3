"""Label noise: kinds, drawing, human labels."""
