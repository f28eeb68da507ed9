"""Work that needs no server: checking and trying flows, samples and messages, proposing a flow."""
