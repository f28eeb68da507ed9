"""What `mapping.py` measures with: labelled pairs of columns, the cases made of them, and its peer."""
