"""What scripts/gpu_acceptance.py is made of: the work, one turn of a trainer, the page."""
