"""The numbered rules that a change of a record's status may cite. CONTRIBUTING.md says each of them in full.

A number is never used again for another rule: entries of the log cite it for good.
"""

from __future__ import annotations

RULES = {
    "R1": "The recipe is yours, the problem is the track's",
    "R2": "All that the model learns, it learns in the run",
    "R3": "No solver of the tasks",
    "R4": "Completions are sampled from the model in training",
    "R5": "No way out of the sandbox",
    "R6": "All runs count",
    "R7": "Packages are the track's",
    "R8": "A folder that has a record never changes",
    "R9": "MIT licence, and sources named",
    "R10": "A version of a track that was replaced is superseded",
    "R11": "What a revoked key signed stops counting",
    "R12": "Whoever made a record may ask for its withdrawal",
    "R13": "A reasoned doubt is a dispute, and a dispute is decided",
    "R14": "A recipe is verified once",
    "R15": "One open attempt a person",
}
