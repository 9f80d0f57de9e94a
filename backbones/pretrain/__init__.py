"""Ways to train a backbone, one objective a file."""
