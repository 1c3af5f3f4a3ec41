"""The front: names it answers to, proxies it believes, headers that every answer carries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from holdfast.core.errors import UsageError
from holdfast.server.http.cookies import TokenCookies
from holdfast.server.http.front import Front, FrontOptions
from holdfast.server.http.proxies import Proxies

Ask = Callable[..., TestClient]
ENROL = {"expires_at": 2_000_000, "time": 1_000_000, "token": "hft_" + "a" * 43}


def _app() -> Starlette:
    def seen(request: Request) -> JSONResponse:
        client = request.client
        return JSONResponse(
            {
                "client": "" if client is None else client.host,
                "scheme": request.url.scheme,
                "host": request.headers["host"],
                "authorization": request.headers.get("authorization", ""),
            }
        )

    async def enrol(_request: Request) -> JSONResponse:
        return JSONResponse(ENROL)

    return Starlette(
        routes=[
            Route("/", seen),
            Route("/v1/health", seen),
            Route("/v1/enrol", enrol, methods=["POST"]),
        ]
    )


def asking(
    *, host: str = "127.0.0.1", name: str = "localhost", peer: str = "127.0.0.1", **options: object
) -> TestClient:
    front = Front(TokenCookies(_app()), host, FrontOptions(**options))  # type: ignore[arg-type]
    return TestClient(front, base_url=f"http://{name}", client=(peer, 4000))


@pytest.mark.parametrize(
    ("host", "name", "hosts", "is_served"),
    [
        ("127.0.0.1", "localhost:8040", (), True),
        ("127.0.0.1", "LOCALHOST", (), True),
        ("127.0.0.1", "127.0.0.1:1", (), True),
        ("127.0.0.1", "127.9.9.9", (), True),
        ("127.0.0.1", "[::1]:8040", (), True),
        ("127.0.0.1", "shop.localhost", (), True),
        ("127.0.0.1", "evil.example", (), False),
        ("127.0.0.1", "evil.example:8040", (), False),
        ("127.0.0.1", "localhost.evil.example", (), False),
        ("127.0.0.1", "127.0.0.1.evil.example", (), False),
        ("127.0.0.1", "10.0.0.9", (), False),
        ("127.0.0.1", "shop.example", ("Shop.Example",), True),
        ("127.0.0.1", "shop.example.", ("shop.example",), True),
        ("127.0.0.1", "anything.example", ("*",), True),
        ("0.0.0.0", "10.0.0.9:8040", (), True),
        ("0.0.0.0", "evil.example", (), False),
        ("::", "[fd00::9]:8040", (), True),
        ("till.lan", "till.lan:8040", (), True),
    ],
)
def test_only_names_of_ours_are_served(
    host: str, name: str, hosts: tuple[str, ...], is_served: bool
) -> None:
    answer = asking(host=host, hosts=hosts).get("/v1/health", headers={"host": name})
    if is_served:
        assert answer.status_code == 200
        assert answer.json()["host"] == name
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (421, "wrong_host")
        assert "--allowed-host" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["", "a b", "[", "a/b", "a@localhost", "localhost:99999999"])
def test_what_is_no_host_is_refused(name: str) -> None:
    answer = asking().get("/v1/health", headers={"host": name, "holdfast-echo": "e"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_host")
    assert answer.json()["echo"] == answer.headers["holdfast-echo"] == "e"


FORWARDED = {
    "x-forwarded-for": "203.0.113.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "shop.example",
}


def test_a_proxy_of_ours_is_believed() -> None:
    client = asking(peer="10.0.0.2", proxies=("10.0.0.0/24",), hosts=("shop.example",))
    seen = client.get("/v1/health", headers=FORWARDED)
    assert seen.json() == {
        "client": "203.0.113.7", "scheme": "https", "host": "shop.example", "authorization": "",
    }  # fmt: skip
    assert seen.headers["strict-transport-security"]


def test_nobody_else_is() -> None:
    client = asking(peer="10.0.1.2", proxies=("10.0.0.0/24",), hosts=("shop.example",))
    seen = client.get("/v1/health", headers=FORWARDED)
    assert seen.json() | {"authorization": ""} == {
        "client": "10.0.1.2", "scheme": "http", "host": "localhost", "authorization": "",
    }  # fmt: skip
    assert "strict-transport-security" not in seen.headers


@pytest.mark.parametrize(
    ("forwarded", "origin"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.0.0.3", "203.0.113.7"),
        ("203.0.113.7:55000", "203.0.113.7"),
        ("[2001:db8::7]:55000", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("nonsense", "10.0.0.2"),
        ("6.6.6.6, nonsense, 10.0.0.3", "10.0.0.3"),
        ("", "10.0.0.2"),
        ("10.0.0.4", "10.0.0.4"),
        ("::ffff:10.0.0.3", "::ffff:10.0.0.3"),
    ],
)
def test_who_asks_is_the_nearest_that_is_no_proxy(forwarded: str, origin: str) -> None:
    proxies = Proxies(["10.0.0.0/24", "fd00::1"])
    assert proxies.origin("10.0.0.2", [forwarded]) == origin
    assert proxies.origin("6.6.6.6", [forwarded]) == "6.6.6.6"
    assert "::ffff:10.0.0.2" in proxies and "fd00::1" in proxies and "fd00::2" not in proxies


@pytest.mark.parametrize("name", ["proxy.example", "10.0.0.0/64", ""])
def test_a_proxy_is_named_by_address(name: str) -> None:
    with pytest.raises(UsageError) as told:
        Proxies([name])
    assert told.value.code == "bad_choice"


@pytest.mark.parametrize("url", ["shop.example", "ftp://shop.example", "https://", "https://a:b:c"])
def test_a_public_url_is_one(url: str) -> None:
    with pytest.raises(UsageError) as told:
        asking(public_url=url)
    assert told.value.code == "bad_choice"


def test_pages_of_the_public_url_sign_in_whatever_the_proxy_calls_us() -> None:
    """As behind nginx without ``proxy_set_header Host``: the upstream's own name arrives."""
    client = asking(
        peer="10.0.0.2", proxies=("10.0.0.2",), public_url="https://Shop.example/", name="holdfast"
    )
    headers = {"x-forwarded-for": "203.0.113.7", "holdfast-token": "cookie"}
    ours = {"origin": "https://shop.example", "sec-fetch-site": "same-origin"}
    answer = client.post("/v1/enrol", headers=headers | ours)
    assert answer.status_code == 200
    assert answer.headers["set-cookie"].endswith("; Secure")
    assert answer.headers["strict-transport-security"]
    for foreign in ("https://evil.example", "http://shop.example", "https://shop.example.evil"):
        answer = client.post("/v1/enrol", headers=headers | {"origin": foreign})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_origin")
    direct = asking(peer="10.0.0.9", proxies=("10.0.0.2",), public_url="https://shop.example")
    assert direct.get("/v1/health", headers={"host": "holdfast"}).status_code == 421


def test_answers_of_the_api_tell_browsers_to_do_nothing_with_them() -> None:
    client = asking()
    foreign = {"origin": "https://evil.example", "cookie": "holdfast_token=hft_" + "a" * 43}
    for answer in (
        client.get("/v1/health"),
        client.get("/v1/nothing"),
        client.get("/v1/health", headers={"host": "evil.example"}),
        client.get("/v1/health", headers=foreign),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == (
            "default-src 'none'; frame-ancestors 'none'"
        )
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "content-security-policy" not in client.get("/").headers


def test_requests_of_an_address_have_a_rate() -> None:
    client = asking(requests=(3, 60_000))
    assert [client.get("/v1/health").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get("/v1/health")
    assert refused.json()["error"]["code"] == "too_many_requests"
    assert int(refused.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "cookie",
    [
        'holdfast_token="' + "\\a" * 7000 + '"',
        'other="' + "\\a" * 7000 + '"; holdfast_token=hft_' + "b" * 43,
        "holdfast_token=" + "=" * 14_000,
        "holdfast_token=;" * 900,
        ";" * 14_000,
        "holdfast_token=hft_short",
        "Holdfast_token=hft_" + "b" * 43,
    ],
)
def test_cookies_are_cut_out_plainly(cookie: str) -> None:
    """Only what can be a token of ours is one, whatever else the header has."""
    bearer = asking().get("/v1/health", headers={"cookie": cookie}).json()["authorization"]
    expected = "Bearer hft_" + "b" * 43 if cookie.startswith("other=") else ""
    assert bearer == expected
