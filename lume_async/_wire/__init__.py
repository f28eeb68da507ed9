"""The contract, pure: requests as data, answers as values or errors, the rules of resending."""
