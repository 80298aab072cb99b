"""What is said about a submission before anything of it runs."""
