"""Analysis of a sample file: its layout, its columns, and how to read each of them."""
