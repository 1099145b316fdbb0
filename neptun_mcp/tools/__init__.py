"""What the assistant meets: the tools, the questions they ask the person, and what they return."""

from .tools import create_tools

__all__ = ["create_tools"]
