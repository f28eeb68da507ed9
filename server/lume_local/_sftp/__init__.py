"""SFTP servers: signing in, listing and copying files, and explaining failures."""
