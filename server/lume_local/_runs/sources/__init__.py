"""Which files a run may read and write, and which runs read the same."""
