"""The Protocols between the parts. Adapters implement them; services are written against them."""
