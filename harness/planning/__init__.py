"""How much a GPU track would take, before anybody pays for it."""
