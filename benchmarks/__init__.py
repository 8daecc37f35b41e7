"""Scripts that produce the recorded runs in book/results; each prints what it measured."""
