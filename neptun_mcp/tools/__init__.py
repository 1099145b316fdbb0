"""What the assistant meets: the tools, the questions they ask the person, and what they return.

In the order in which a call meets them: `middleware` (what a connection may do), `arguments` (their types, and how
hosts send them), `tools` (a signature and a few lines each), `projects` and `questions` (what is asked of the person),
`lists` (how a page of one project, or of all, comes about), `query` (the search language), `pages` (lists with more to
read), `excerpts` and `fitting` (how much is shown), `schema` (what hosts are told of arguments and results). `words`
makes sentences of errors.
"""

from .arguments import misuse
from .tools import create_tools

__all__ = ["create_tools", "misuse"]
