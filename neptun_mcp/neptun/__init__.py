"""A library for the web API of Neptun. It neither imports the rest of this package nor speaks of it."""
