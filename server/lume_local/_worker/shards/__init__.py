"""The work on parts of a source, and the steps of a run that distributes it."""
