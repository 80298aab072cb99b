"""The attack is in submission.toml: the name of another folder."""

raise SystemExit("a submission with this manifest must not be run")
