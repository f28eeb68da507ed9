"""Messages to people: which notices become messages, to whom, and how often."""
