"""What an organisation is called and where its owner is written to."""
