"""SFTP servers: how this one signs in, what can go wrong, and how their files are listed and copied."""
