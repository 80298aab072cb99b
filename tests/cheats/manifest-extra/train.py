"""The attack is in submission.toml: a verdict of its own."""

raise SystemExit("a submission with this manifest must not be run")
