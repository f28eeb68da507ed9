"""File arrivals: places are watched, and each version of each path is submitted once."""
