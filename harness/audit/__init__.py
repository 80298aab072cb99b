"""Everything that anyone can check of the ledger, offline."""
