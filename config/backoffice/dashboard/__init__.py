"""What staff see first: how much is used, by whom, and whether all is well."""
