"""Streamable HTTP for many people."""

from .app import create_app

__all__ = ["create_app"]
