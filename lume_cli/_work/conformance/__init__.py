"""The conformance kit: what a server of the wire contract must answer, as checks that any server can be given."""
