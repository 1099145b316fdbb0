"""An embedded Neptun with sample data: to try neptun-mcp without an account, and to test against.

`create_app` makes the application, `neptun_mcp.sandbox.server.serve` puts it on a port of this machine.
"""

from .app import create_app
from .data import BOB_COOKIE, COOKIE, EMAIL, PASSWORD, USER_ID

__all__ = ["BOB_COOKIE", "COOKIE", "EMAIL", "PASSWORD", "USER_ID", "create_app"]
