"""The ledger: signed records in an append-only log. It knows nothing of how a record is made."""
