"""The output of a run, as rows for a program or as a file."""
