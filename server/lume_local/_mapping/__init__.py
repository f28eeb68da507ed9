"""Mapping of samples to a target: the source column and expression for each target column, with the evidence."""
