"""An embedded Neptun with sample data: to try neptun-mcp without an account, and to test against."""

from .data import COOKIE, EMAIL, PASSWORD, USER_ID
from .endpoints import create_app

__all__ = ["COOKIE", "EMAIL", "PASSWORD", "USER_ID", "create_app"]
