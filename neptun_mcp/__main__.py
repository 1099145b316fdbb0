"""`python -m neptun_mcp` is the command `neptun-mcp`."""

from .cli import main

main()
