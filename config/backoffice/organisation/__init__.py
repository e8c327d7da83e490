"""Everything of one organisation on one page."""
