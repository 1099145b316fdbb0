"""The page on which a person signs in: without JavaScript, for phones, keyboards and screen readers too."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from html import escape
from string import Template

from pydantic import AnyUrl
from starlette.responses import HTMLResponse

from ..neptun.cookies import how_to_get_cookie
from ..neptun.errors import quoted

LONGEST_NAME = 60

_STYLE = """
:root { color-scheme: light dark; --text: #1c2127; --quiet: #545d68; --page: #f4f5f7; --card: #fff; --line: #8b949e;
  --accent: #0b57d0; --on-accent: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --quiet: #a5adb8; --page: #121417; --card: #1c2024;
  --line: #6e7781; --accent: #8ab4f8; --on-accent: #0b1a33; --bad: #ffb4ab; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1rem; background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 30rem; margin: 0 auto; padding: 1.25rem; background: var(--card); border-radius: .75rem;
  overflow-wrap: anywhere; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
dl { margin: 1rem 0; }
dt { color: var(--quiet); font-size: .875rem; }
dd { margin: 0 0 .5rem; }
label, summary { font-weight: 600; }
label { display: block; margin-top: 1rem; }
input { width: 100%; padding: .625rem; border: 1px solid var(--line); border-radius: .375rem; background: var(--card);
  color: inherit; font: inherit; }
[aria-invalid] { border: 2px solid var(--bad); }
.error { margin: .25rem 0 0; color: var(--bad); font-weight: 600; }
.hint { margin: .25rem 0 0; color: var(--quiet); font-size: .875rem; }
button { width: 100%; margin-top: 1rem; padding: .75rem; border: 1px solid var(--accent); border-radius: .375rem;
  background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; cursor: pointer; }
button.second { background: none; color: var(--accent); }
a { color: var(--accent); }
summary { margin-top: 1.5rem; padding: .25rem 0; cursor: pointer; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
"""

# No form-action: Chrome holds it against every address to which the answer to a form leads, and an application's own
# site may lead on to an application on the person's machine (claude.ai to claude:).
_CSP = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _CSP,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$content
</main>
</body>
</html>
"""
)

_FORMS = Template(
    """<h1>Sign in to Neptun</h1>
$alert
$hint
<p>An application wants access to your projects. Continue only if you started this yourself.</p>
<dl>
<dt>Application, as it calls itself</dt><dd><bdi>$application</bdi></dd>
<dt>Sends you afterwards to</dt><dd><strong>$destination</strong></dd>
<dt>Will be able to</dt><dd>$abilities</dd>
<dt>This server</dt><dd><strong>$server</strong></dd>
<dt>Neptun</dt><dd><strong>$neptun</strong></dd>
</dl>
<form method="post" action="/sign-in">
<input type="hidden" name="request" value="$request">
$email_field
$password_field
<button>Sign in</button>
</form>
<details$cookie_open>
<summary>Signed up with GitHub or a passkey?</summary>
<form method="post" action="/sign-in">
<input type="hidden" name="request" value="$request">
$cookie_field
<button>Sign in with the cookie</button>
</form>
</details>
<form method="post" action="/sign-in">
<input type="hidden" name="request" value="$request">
<button class="second" name="refuse" value="1">Refuse</button>
</form>"""
)


@dataclass(frozen=True)
class Question:
    """What a person is asked.

    Attributes:
        request: the pending request, sealed.
        application: what the application calls itself, if it does.
        redirect_uri: where the person is sent afterwards.
        server: the host name of this server.
        neptun: the address of Neptun.
        read_only: whether no import can be deleted.
        hint: a sentence for whoever signs in; empty for none.
    """

    request: str
    application: str | None
    redirect_uri: AnyUrl
    server: str
    neptun: str
    read_only: bool
    hint: str = ""


def form(
    question: Question, *, errors: Mapping[str, str] | None = None, email: str = "", status: int = 200
) -> HTMLResponse:
    """The page with the question.

    Args:
        errors: what is wrong, by the name of the field; what concerns no field under an empty name.
        email: what the person typed.
    """
    errors = errors or {}
    words = {
        "application": quoted(question.application, LONGEST_NAME) if question.application else "(it gives no name)",
        "destination": destination(question.redirect_uri),
        "abilities": "read everything in your projects" + ("" if question.read_only else ", and delete imports"),
        "server": question.server,
        "neptun": question.neptun,
        "request": question.request,
    }
    first = next((name for name in ("email", "password", "cookie") if name in errors), "")
    field = partial(_field, errors, first)
    typed = f'type="email" autocomplete="username" value="{escape(email)}"'
    html = _FORMS.substitute(
        {name: escape(word) for name, word in words.items()},
        alert=f'<p class="error" role="alert">{escape(errors[""])}</p>' if "" in errors else "",
        hint=f"<p>{escape(question.hint)}</p>" if question.hint else "",
        email_field=field("email", "E-mail address", typed),
        password_field=field(
            "password",
            "Password",
            'type="password" autocomplete="current-password"',
            "This server sends it to Neptun once and does not keep it.",
        ),
        cookie_open=" open" if "cookie" in errors else "",
        cookie_field=field(
            "cookie",
            "Session cookie",
            'autocomplete="off" autocapitalize="none" spellcheck="false"',
            f"To get it, {how_to_get_cookie(question.neptun)}.",
        ),
    )
    title = "Sign in to Neptun"
    return _page(f"Error: {title}" if errors else title, html, status)


def _field(errors: Mapping[str, str], first: str, name: str, label: str, attributes: str, hint: str = "") -> str:
    """A field with its label, what is wrong with it, and a hint; the first one that is wrong has the focus."""
    notes = [(kind, text) for kind, text in (("error", errors.get(name)), ("hint", hint)) if text]
    if name in errors:
        attributes += ' aria-invalid="true"' + " autofocus" * (name == first)
    if notes:
        attributes += f' aria-describedby="{" ".join(f"{name}-{kind}" for kind, _ in notes)}"'
    lines = [f'<label for="{name}">{label}</label>', f'<input id="{name}" name="{name}" required {attributes}>']
    lines += [f'<p class="{kind}" id="{name}-{kind}">{escape(text)}</p>' for kind, text in notes]
    return "\n".join(lines)


def message(title: str, text: str, status: int, *, back: str = "") -> HTMLResponse:
    """A page that says something, and links to the application at the address `back`, if any."""
    link = f'\n<p><a href="{escape(back)}">Back to {escape(destination(AnyUrl(back)))}</a></p>' if back else ""
    return _page(title, f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>{link}", status)


def _page(title: str, content: str, status: int) -> HTMLResponse:
    html = _PAGE.substitute(title=escape(title), style=_STYLE, content=content)
    return HTMLResponse(html, status, _HEADERS)


def destination(uri: AnyUrl) -> str:
    """Where an address leads, in words: the host, or that it is the person's own machine."""
    if uri.scheme == "https":
        return f"{uri.host}" if uri.port == 443 else f"{uri.host}:{uri.port}"
    return f"an application on this computer ({uri.scheme}://{uri.host}{f':{uri.port}' if uri.port else ''})"
