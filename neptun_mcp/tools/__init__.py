"""What the assistant meets: the tools, the questions they ask the person, and what they return.

In the order in which a call meets them: `middleware` (what a connection may do), `arguments` (their types, and how
hosts send them), `tools` (a signature and a few lines each), `progress`, `context` (what every call has at hand),
`projects` and `questions` (what the person is asked), `lists` (how a page of one project, or of all, comes about),
`pages` (lists with more to read), `query` and `folding` (the search language), `excerpts` and `fitting` (how much is
shown). `schema` holds what hosts are told of arguments and results, `prompts` what a person can start, and `words`
makes sentences of errors.
"""

from .arguments import misuse
from .tools import create_tools

__all__ = ["create_tools", "misuse"]
