"""Data sets of reasoning-gym as tasks: `sets.GYM` is the table of them; docs/gym.md speaks of all 106."""
