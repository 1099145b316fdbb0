"""What the assistant meets: the tools, the questions they ask the person, and what they return.

In the order in which a call meets them: `arguments` (what hosts send, made uniform), `tools` (a signature and a few
lines each), `projects` and `questions` (what is asked of the person), `lists` and `everywhere` (how a page is made),
`query` (the search language), `pages` (lists with more to read), `excerpts` and `fitting` (what is shown), `results`.
`words` makes sentences of errors, `schema` makes schemas that every host accepts.
"""

from .neptun_tool import misuse
from .tools import create_tools

__all__ = ["create_tools", "misuse"]
