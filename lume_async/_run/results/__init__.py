"""What a run has written, as rows of a program or as a file."""
