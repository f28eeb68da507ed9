"""Messages to people: which notices become which messages, for whom, and how often."""
