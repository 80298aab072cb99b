"""The static screen of a submission and the gate of a pull request: what is checked before anything runs."""
