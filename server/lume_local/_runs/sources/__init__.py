"""Sources and targets: which files a run may use, and which runs read the same source."""
