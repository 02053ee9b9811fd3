"""Ways into `ieg.LabelTracker` for models that other libraries train."""
