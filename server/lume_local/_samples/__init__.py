"""What a sample file shows: how it is written, its columns, and how each can be read."""
