"""What is learnt from finished runs."""
