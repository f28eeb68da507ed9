"""What a sample file shows: its encoding, where its table starts, its columns, and how to read each of them."""
