"""What the assistant meets: the tools, the questions they ask the person, and what they return.

In the order in which a call meets them: `middleware` (what a connection may do), `arguments` (what hosts send, made
uniform), `tools` (a signature and a few lines each), `parameters` (types, and what goes together), `projects` and
`questions` (what is asked of the person), `lists` (how a page of one project, or of all, comes about), `query` (the
search language), `pages` (lists with more to read), `excerpts` and `fitting` (how much is shown), `results` (in which
form). `words` makes sentences of errors, `schema` schemas that every host accepts.
"""

from .arguments import misuse
from .tools import create_tools

__all__ = ["create_tools", "misuse"]
