"""Pi-DE: the web front end, a client of the hypivisor's Console service."""
