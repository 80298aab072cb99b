"""The attack is in submission.toml: escape sequences for the terminal that shows it."""

raise SystemExit("a submission with this manifest must not be run")
