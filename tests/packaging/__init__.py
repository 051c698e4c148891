"""What `make package` makes, installed and used."""
