"""The command line before TensorFlow: options, names, mistakes, help."""
