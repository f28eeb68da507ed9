"""Files of lines whose values stand between delimiters."""
