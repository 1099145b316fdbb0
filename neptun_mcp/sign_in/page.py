"""The page on which a person signs in: without JavaScript, for phones, keyboards and screen readers too."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from html import escape
from string import Template

from pydantic import AnyUrl
from starlette.responses import HTMLResponse

from ..neptun.cookies import how_to_get_cookie
from ..neptun.errors import quoted
from .log_in import NotLoggedIn
from .provider import Pending
from .registration import EDITORS

LONGEST_NAME = 60

_AS_TYPED = 'autocomplete="off" autocapitalize="none" spellcheck="false"'

_STYLE = """
:root { color-scheme: light dark; --text: #1c2127; --quiet: #545d68; --page: #f4f5f7; --card: #fff; --line: #8b949e;
  --accent: #0b57d0; --on-accent: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --quiet: #a5adb8; --page: #121417; --card: #1c2024;
  --line: #6e7781; --accent: #8ab4f8; --on-accent: #0b1a33; --bad: #ffb4ab; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.4 system-ui, sans-serif; }
main { max-width: 30rem; margin: 0 auto; padding: 1rem 1.25rem; background: var(--card); overflow-wrap: anywhere; }
@media (min-width: 34rem) { main { margin: 2rem auto; padding: 1.5rem; border-radius: .75rem; } }
h1 { margin: 0 0 .25rem; font-size: 1.375rem; line-height: 1.25; }
p { margin: .25rem 0; }
label.above, legend, summary { font-weight: 600; }
label.above { display: block; margin-top: .625rem; }
input { font: inherit; color: inherit; }
input.text { width: 100%; padding: .5rem .625rem; border: 1px solid var(--line); border-radius: .375rem;
  background: var(--card); }
fieldset { margin: .625rem 0 0; padding: 0; border: 0; }
legend { padding: 0; }
.choice { display: flex; gap: .5rem; padding: .125rem 0; }
.choice input { flex: none; width: 1.125rem; height: 1.125rem; margin: .125rem 0 0; accent-color: var(--accent); }
[aria-invalid] { border: 2px solid var(--bad); }
.error { color: var(--bad); font-weight: 600; }
.hint { color: var(--quiet); font-size: .875rem; }
button { width: 100%; margin-top: .75rem; padding: .625rem; border: 1px solid var(--accent); border-radius: .375rem;
  background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; cursor: pointer; }
button.second { background: none; color: var(--accent); }
a { color: var(--accent); }
details { margin: 1.25rem 0; }
summary { padding: .25rem 0; cursor: pointer; }
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
<p><bdi>$application</bdi> asks to $abilities. Continue only if you started this yourself; you are
then sent to <strong>$destination</strong>.</p>
$hint
<form method="post" action="/sign-in">
<input type="hidden" name="request" value="$request">
$email_field
$password_field
$choice
<button>Sign in</button>
</form>
<form method="post" action="/sign-in/refuse">
<input type="hidden" name="request" value="$request">
<button class="second">Refuse</button>
</form>
<details$cookie_open>
<summary>Signed up with GitHub or a passkey?</summary>
<form method="post" action="/sign-in/cookie">
<input type="hidden" name="request" value="$request">
$cookie_field
$choice
<button>Sign in with the cookie</button>
</form>
</details>
<p class="hint">This is <strong>$server</strong>, which signs you in to Neptun at <strong>$neptun</strong>.
It sends your password there, and does not keep it.</p>"""
)

_CHOICE = Template(
    """<fieldset>
<legend>It may</legend>
<label class="choice"><input type="radio" name="access" value="look-up"$look_up> Look up only</label>
<label class="choice"><input type="radio" name="access" value="delete"$delete>
Look up, and delete imports after asking me</label>
</fieldset>"""
)


class SignInPage:
    """The page on which a person signs in, or refuses.

    Args:
        server: the host name of this server.
        neptun: the address of Neptun.
        read_only: whether no import can be deleted.
        hint: a sentence for whoever signs in; empty for none.
    """

    def __init__(self, server: str, neptun: str, *, read_only: bool, hint: str) -> None:
        self._server = server
        self._neptun = neptun
        self._read_only = read_only
        self._hint = f"<p>{escape(hint)}</p>" if hint else ""

    def form(
        self, request: str, pending: Pending, typed: Mapping[str, str], problem: NotLoggedIn | None = None
    ) -> HTMLResponse:
        """The page for a request.

        Args:
            request: the pending request, sealed.
            pending: what is in it.
            typed: the fields that the person has filled in; only the password and the cookie are not shown again.
            problem: what the person has to correct, if anything.
        """
        errors = dict[str, str](problem.errors if problem else ())
        may_delete, email = typed.get("access") == "delete", escape(typed.get("email", ""))
        name = f" that calls itself {quoted(pending.client_name, LONGEST_NAME)}" if pending.client_name else ""
        deleting = "" if self._read_only else ", and, if you allow it, to delete imports after asking you"
        words = {
            "application": f"An application{name}",
            "abilities": f"look up everything in your projects{deleting}",
            "destination": destination(pending.redirect_uri),
            "server": self._server,
            "neptun": self._neptun,
            "request": request,
        }
        checked = {"look_up": "" if may_delete else " checked", "delete": " checked" * may_delete}
        field = partial(_field, errors)
        html = _FORMS.substitute(
            {name: escape(word) for name, word in words.items()},
            alert=f'<p class="error" role="alert">{escape(errors[""])}</p>' if "" in errors else "",
            hint=self._hint,
            email_field=field("email", "E-mail address", f'type="email" autocomplete="username" value="{email}"'),
            password_field=field("password", "Password", 'type="password" autocomplete="current-password"'),
            choice="" if self._read_only else _CHOICE.substitute(checked),
            cookie_open=" open" if "cookie" in errors else "",
            cookie_field=field("cookie", "Session cookie", _AS_TYPED, f"To get it, {how_to_get_cookie(self._neptun)}."),
        )
        title = "Error: Sign in to Neptun" if errors else "Sign in to Neptun"
        return _page(title, html, problem.status if problem else 200)


def _field(errors: Mapping[str, str], name: str, label: str, attributes: str, hint: str = "") -> str:
    """A field with its label, what is wrong with it, and a hint; the first one that is wrong has the focus."""
    notes = [(kind, text) for kind, text in (("error", errors.get(name)), ("hint", hint)) if text]
    if name in errors:
        attributes += ' aria-invalid="true"' + " autofocus" * (name == next(iter(errors)))
    if notes:
        attributes += f' aria-describedby="{" ".join(f"{name}-{kind}" for kind, _ in notes)}"'
    lines = [
        f'<label class="above" for="{name}">{label}</label>',
        f'<input class="text" id="{name}" name="{name}" required {attributes}>',
    ]
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
    """Where an address leads, in words: the host, or which application on the person's own machine."""
    if uri.scheme == "https":
        return f"{uri.host}" if uri.port == 443 else f"{uri.host}:{uri.port}"
    where = f"{uri.scheme}://{uri.host}{f':{uri.port}' if uri.port else ''}"
    return f"{EDITORS.get(uri.scheme, 'an application')} on this computer ({where})"
