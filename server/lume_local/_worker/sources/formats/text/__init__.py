"""Files of lines with delimited values."""
