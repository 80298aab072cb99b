"""Records as Markdown pages and charts."""
