"""Operations on rejected rows: the ledger, and drafts of their corrections."""
