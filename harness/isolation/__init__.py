"""What a submission runs in: sandbox, cgroup meter, GPU lease, and what this machine can show of them."""
