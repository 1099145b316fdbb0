"""A library for the web API of Neptun."""
