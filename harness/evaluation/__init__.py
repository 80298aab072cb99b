"""Any model on any suite, and the benchmarks that a verification reports."""
