"""What is answered about rejected rows: the ledger, drafts of their mending."""
