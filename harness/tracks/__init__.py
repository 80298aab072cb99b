"""The tracks: one TOML file each, read by `track.py`."""
