"""What an organisation may use and what it has used."""
