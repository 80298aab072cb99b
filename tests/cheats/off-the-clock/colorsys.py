"""Stands before the library's colorsys if this folder is on the path while the track's modules are imported."""

import __main__

if not hasattr(__main__, "__file__"):
    print("TRIED colorsys.py before the clock: done", flush=True)
