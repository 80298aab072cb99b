"""Everything that anyone can check of the ledger, offline: `harness.audit.audit.audit`."""
