"""The sign-in page in a real browser, without JavaScript."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from tests.serving.support import listen
from tests.sign_in.support import SignInServer, sign_in_server
from tests.support import Json, Site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,  # `test_page` and `test_routes` read the page without a browser
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
async def chromium(anyio_backend: str) -> AsyncGenerator[Any]:
    # Not an import statement: where the package is missing, types are to be checked all the same.
    playwright: Any = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with playwright.async_playwright() as started:
        # The sandbox of Chromium does not start as root, as which containers run tests.
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@dataclass
class Tab:
    """A tab of a browser of its own, in which an application has opened the page.

    Attributes:
        server: the server that it belongs to.
        redirect: where the application waits for the person.
        page: Playwright's.
        returns: what the person brought the application at each return.
        refused: what the policy of a page kept the browser from.
    """

    server: SignInServer
    redirect: str
    page: Any
    returns: list[Json]
    refused: list[str] = field(default_factory=list[str])

    async def brought(self) -> Json:
        """Wait for the next return."""
        await self.page.get_by_text("Back in the application.").wait_for()
        return self.returns.pop()

    async def sign_in(self, password: str = PASSWORD) -> None:
        await self.page.get_by_label("E-mail address").fill(EMAIL)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in", exact=True).click()

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def focused(self) -> str:
        return await self.page.evaluate(
            "(({id, textContent, value}) => id || textContent || value)(document.activeElement)"
        )


@asynccontextmanager
async def tab(chromium: Any, site: Site, **context: Any) -> AsyncGenerator[Tab]:
    """With further options of Playwright's contexts."""
    returns: list[Json] = []

    async def lead_on(request: Request) -> Response:
        elsewhere = request.url.replace(hostname="localhost", path="/application")
        return RedirectResponse(str(elsewhere))

    async def come_back(request: Request) -> Response:
        returns.append(dict(request.query_params))
        return PlainTextResponse("Back in the application.")

    application = Starlette(routes=[Route("/callback", lead_on), Route("/application", come_back)])
    async with sign_in_server(site) as server, listen(application) as address:
        # Hosts' sites lead on as well, to an application on the person's machine.
        redirect = f"{address}/callback"
        await server.app.register(client_name="Tester", redirect_uris=[redirect])
        own = await chromium.new_context(java_script_enabled=False, **context)
        opened = Tab(server, redirect, await own.new_page(), returns)

        def note(message: Any) -> None:
            if "Content Security Policy" in message.text:
                opened.refused.append(message.text)

        opened.page.on("console", note)
        await opened.page.goto(f"{server.url}{server.app.link(redirect_uri=redirect)}")
        yield opened
        await own.close()


async def test_signs_in(chromium: Any, site: Site) -> None:
    async with tab(chromium, site) as at:
        assert await at.page.title() == "Sign in to Neptun"
        await at.sign_in()
        code = (await at.brought())["code"]
        assert (await at.server.app.exchange(code, redirect_uri=at.redirect)).status_code == 200
        assert at.refused == []


async def test_a_wrong_password_is_told_at_its_field(chromium: Any, site: Site) -> None:
    async with tab(chromium, site) as at:
        await at.sign_in("Wr0ng!secret")
        field = at.page.get_by_label("Password")
        described = (await field.get_attribute("aria-describedby")).split()
        assert "password is wrong" in await at.page.inner_text(f"#{described[0]}")
        assert (await at.focused(), await field.input_value()) == ("password", "")
        await at.page.keyboard.type(PASSWORD)
        await at.press("Enter")
        assert "code" in await at.brought()


async def test_refuses_by_keyboard(chromium: Any, site: Site) -> None:
    async with tab(chromium, site) as at:
        seen: list[str] = []
        while "Refuse" not in seen:
            assert len(seen) < 10
            await at.press("Tab")
            seen.append(await at.focused())
        assert seen == ["email", "password", "look-up", "Sign in", "Refuse"]
        await at.press("Enter")
        assert (await at.brought())["error"] == "access_denied"


async def test_signs_in_with_a_cookie(chromium: Any, site: Site) -> None:
    async with tab(chromium, site) as at:
        field = at.page.get_by_label("Session cookie")
        assert not await field.is_visible()
        await at.page.get_by_text("Signed up with GitHub").click()
        for pasted in ("not a cookie", f"neptun-session={COOKIE}; Path=/; HttpOnly"):
            await field.fill(pasted)
            await at.press("Enter")
        assert "code" in await at.brought()
        assert set(site.cookies) == {COOKIE}


async def test_after_going_back_the_page_still_works(chromium: Any, site: Site) -> None:
    async with tab(chromium, site) as at:
        await at.sign_in()
        first = await at.brought()
        await at.page.go_back()
        assert await at.page.get_by_label("Password").input_value() == ""
        await at.sign_in()
        assert (await at.brought())["code"] != first["code"]


async def test_another_browser_is_told_to_begin_again(chromium: Any, site: Site) -> None:
    async with tab(chromium, site) as at:
        other = await chromium.new_context(java_script_enabled=False)
        page = await other.new_page()
        await page.goto(at.page.url)
        assert await page.inner_text("h1") == "This page has expired"
        await other.close()


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(28, 32, 36)")])
async def test_fits_a_phone_in_light_and_dark(chromium: Any, site: Site, scheme: str, background: str) -> None:
    phone: Json = {"viewport": {"width": 320, "height": 640}, "color_scheme": scheme}
    async with tab(chromium, site, **phone) as at:
        await at.sign_in("Wr0ng!secret")
        assert await at.page.evaluate("document.documentElement.scrollWidth") == 320
        assert await at.page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor") == background


async def test_the_button_is_seen_at_once_on_a_phone(chromium: Any, site: Site) -> None:
    async with tab(chromium, site, viewport={"width": 360, "height": 640}) as at:
        for wrong in (False, True):
            if wrong:
                await at.sign_in("Wr0ng!secret")
            button = await at.page.get_by_role("button", name="Sign in", exact=True).bounding_box()
            assert button["y"] + button["height"] <= 640
