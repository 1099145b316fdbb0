"""An embedded Neptun with sample data: to try neptun-mcp without an account, and to test against.

What only tests need of it is in `tests/running_neptun.py`.
"""

from .data import COOKIE, EMAIL, PASSWORD, USER_ID
from .endpoints import create_app

__all__ = ["COOKIE", "EMAIL", "PASSWORD", "USER_ID", "create_app"]
