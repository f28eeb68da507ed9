"""Files that arrive: places are watched, and each content of each path is submitted once."""
