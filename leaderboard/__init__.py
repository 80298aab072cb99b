"""The board: Markdown pages and SVG charts, rendered from the ledger alone and never edited by hand."""
