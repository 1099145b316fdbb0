"""`python -m neptun_mcp` is the command `neptun-mcp`."""

# Absolute, so that the file can also be run by its path, as hosts may do with the entry point of a bundle.
from neptun_mcp.cli import main

main()
