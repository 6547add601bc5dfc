"""Whether to grow a model or train it from scratch: formulas, published laws, and the decision."""
