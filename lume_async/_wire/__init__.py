"""The wire contract, pure: requests as data, responses as values or errors, the rules for retries."""
