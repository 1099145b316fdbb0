"""What the assistant meets: the tools, the questions they ask the person, and what they return.

In the order in which a call meets them: `arguments` (what hosts send, made uniform), `tools` (a signature and a few
lines each), `questions` (asked of the person before a tool runs), `search` (what a query finds), `pages` (lists with
more to read), `results` (what is returned, and how it is made to fit). `schema` makes schemas that every host accepts.
"""

from .neptun_tool import misuse
from .tools import create_tools

__all__ = ["create_tools", "misuse"]
