"""From a sample to a target: which source column is which target column, by which expression, and why."""
