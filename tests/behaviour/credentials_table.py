"""Each form of credential, right, wrong, empty and in conflict, by curl over TLS with HTTP/1.1 and HTTP/2.

Pitfalls P10 (the stored hash is not the key), P15 (a malformed header is 400 or 401, never a crash), P17 (an API call gets
401 JSON, never a redirect).
"""

import base64
from urllib.parse import quote

import pytest

WRONG = "0" * 64


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# name: (curl's arguments made from the right key, query made from it)
ACCEPTED = {
    "bearer": lambda key: (["-H", f"Authorization: Bearer {key}"], ""),
    "bearer, scheme in small letters": lambda key: (["-H", f"authorization: bearer {key}"], ""),
    "bearer, scheme in capitals": lambda key: (["-H", f"AUTHORIZATION: BEARER {key}"], ""),
    "x-api-key": lambda key: (["-H", f"X-API-Key: {key}"], ""),
    "x-api-key, name in small letters": lambda key: (["-H", f"x-api-key: {key}"], ""),
    "query api_key": lambda key: ([], f"?api_key={key}"),
    "query api_key among others": lambda key: ([], f"?a=1&api_key={key}&b=2"),
    "query api_key, escaped": lambda key: ([], "?api_key=" + "".join(f"%{ord(sign):02X}" for sign in key)),
    "query token": lambda key: ([], f"?token={key}"),
    "basic, key as password": lambda key: (["-H", basic("anyone", key)], ""),
    "basic, no user name": lambda key: (["-H", basic("", key)], ""),
    "basic, scheme in small letters": lambda key: (["-H", basic("u", key).replace("Basic", "basic")], ""),
    "basic by curl's -u": lambda key: (["-u", f"guest:{key}"], ""),
    "the same key twice": lambda key: (["-H", f"Authorization: Bearer {key}", "-H", f"X-API-Key: {key}"], f"?api_key={key}"),
}

REFUSED = {
    "nothing": lambda key: ([], ""),
    "bearer wrong": lambda key: (["-H", f"Authorization: Bearer {WRONG}"], ""),
    "x-api-key wrong": lambda key: (["-H", f"X-API-Key: {WRONG}"], ""),
    "query api_key wrong": lambda key: ([], f"?api_key={WRONG}"),
    "query token wrong": lambda key: ([], f"?token={WRONG}"),
    "basic wrong": lambda key: (["-H", basic("u", WRONG)], ""),
    "bearer empty": lambda key: (["-H", "Authorization: Bearer "], ""),
    "authorization empty": lambda key: (["-H", "Authorization;"], ""),
    "x-api-key empty": lambda key: (["-H", "X-API-Key;"], ""),
    "x-api-key blank": lambda key: (["-H", "X-API-Key:   "], ""),
    "query api_key empty": lambda key: ([], "?api_key="),
    "query api_key without a value": lambda key: ([], "?api_key"),
    "query token empty": lambda key: ([], "?token="),
    "basic empty password": lambda key: (["-H", basic("u", "")], ""),
    "basic, key as user name": lambda key: (["-H", basic(key, "")], ""),
    "basic, not base64": lambda key: (["-H", "Authorization: Basic %%%"], ""),
    "basic, no colon": lambda key: (["-H", "Authorization: Basic " + base64.b64encode(key.encode()).decode()], ""),
    "key without a scheme": lambda key: (["-H", f"Authorization: {key}"], ""),
    "unknown scheme": lambda key: (["-H", f"Authorization: Digest {key}"], ""),
    "scheme glued to the key": lambda key: (["-H", f"Authorization: Bearer{key}"], ""),
    "key in capitals": lambda key: (["-H", f"Authorization: Bearer {key.upper()}"], ""),
    "key cut short": lambda key: (["-H", f"Authorization: Bearer {key[:-1]}"], ""),
    "key and one sign more": lambda key: (["-H", f"Authorization: Bearer {key}0"], ""),
    "key twice in one field": lambda key: (["-H", f"Authorization: Bearer {key} {key}"], ""),
    "name of the query key in capitals": lambda key: ([], f"?API_KEY={key}"),
    "key in the fragment": lambda key: ([], f"#api_key={key}"),
    "key as a cookie": lambda key: (["-H", f"Cookie: api_key={key}; comfyui_api_key={key}"], ""),
    "right bearer, wrong x-api-key": lambda key: (["-H", f"Authorization: Bearer {key}", "-H", f"X-API-Key: {WRONG}"], ""),
    "wrong bearer, right x-api-key": lambda key: (["-H", f"Authorization: Bearer {WRONG}", "-H", f"X-API-Key: {key}"], ""),
    "right bearer, wrong query": lambda key: (["-H", f"Authorization: Bearer {key}"], f"?api_key={WRONG}"),
    "right x-api-key, wrong query": lambda key: (["-H", f"X-API-Key: {key}"], f"?token={WRONG}"),
    "right api_key, wrong token": lambda key: ([], f"?api_key={key}&token={WRONG}"),
    "api_key twice, two values": lambda key: ([], f"?api_key={key}&api_key={WRONG}"),
    "x-api-key twice, two values": lambda key: (["-H", f"X-API-Key: {key}", "-H", f"X-API-Key: {WRONG}"], ""),
    "right basic, wrong query": lambda key: (["-H", basic("u", key)], f"?api_key={WRONG}"),
}


@pytest.mark.parametrize("form", ACCEPTED)
def test_right_key_is_let_in(guard, h2, form):
    arguments, query = ACCEPTED[form](guard.key)
    answer = guard.curl(*arguments, f"{guard.url}/queue{query}", h2=h2)
    assert answer.status == 200, answer.body
    assert set(answer.json()) == {"queue_running", "queue_pending"}
    assert answer.version == ("2" if h2 else "1.1")


@pytest.mark.parametrize("form", REFUSED)
def test_anything_else_is_401_and_reaches_no_handler(guard, h2, form):
    arguments, query = REFUSED[form](guard.key)
    mark = guard.upstream.mark()
    answer = guard.curl(*arguments, f"{guard.url}/queue{query}", h2=h2)
    assert answer.status == 401, (answer.status, answer.body)
    assert answer.kind == "application/json"
    assert {"error", "message"} <= set(answer.json())
    assert guard.key not in answer.body.decode()
    assert guard.upstream.since(mark) == []


def test_challenge_names_bearer_first_and_no_bare_basic(guard, h2):
    """A bare Basic would make browsers show their own password window."""
    challenges = guard.get("/queue", h2=h2).headers.get_list("www-authenticate")
    assert challenges and challenges[0].lower().startswith("bearer")
    assert not any(part.strip().lower().startswith("basic") for line in challenges for part in line.split(","))


def test_refusal_is_kept_by_no_cache(guard, h2):
    assert "no-store" in guard.get("/queue", h2=h2).headers.get("cache-control", "")


def test_stored_hash_is_not_the_key(guard, h2):
    """P10: whoever reads the key file must not be able to use what stands in it."""
    phc = guard.key_file.read_text().strip()
    assert phc.startswith("$argon2id$")
    forms = ([{"Authorization": f"Bearer {phc}"}, ""], [{"X-API-Key": phc}, ""], [{}, "?api_key=" + quote(phc, safe="")])
    for headers, query in forms:
        assert guard.get("/queue" + query, headers=headers, h2=h2).status == 401


@pytest.mark.parametrize("bytes_", [b"Bearer \xff\xfe", b"Bearer \x80" * 20, b"\xc3\xa4", b"Basic " + b"A" * 7000, b"Bearer " + b"k" * 7900])
def test_odd_bytes_in_a_credential_are_a_plain_refusal(guard, bytes_):
    """P15: 400, 401 or 431, and the connection's other requests go on."""
    with guard.raw() as wire:
        wire.send(b"GET /queue HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + bytes_ + b"\r\n\r\n")
        assert wire.answer().status in (400, 401, 431)
    assert guard.get("/queue", key=True).status == 200


def test_base64_key_works_in_the_query_with_and_without_escapes(fresh):
    """A key from `openssl rand -base64 32`: a literal + in a query means the same as %2B."""
    key = "q+/Zb9Hk0m1X+S4nPq7vT2yL5/wEaJcRdFgU8iOx3Ks="
    running = fresh(key=key)
    for query in (f"api_key={key}", f"api_key={quote(key, safe='')}", f"token={key}", f"token={quote(key, safe='+')}"):
        assert running.get("/queue?" + query).status == 200, query
    assert running.get("/queue?api_key=" + key.replace("+", "%20")).status == 401
    assert running.get("/queue", headers={"X-API-Key": key}).status == 200


def test_credential_is_gone_and_the_rest_of_the_query_is_byte_for_byte(guard, h2):
    """P16: ComfyUI and its custom nodes never see the key, nor a trace that one was there."""
    rest = "filename=a%20b%2Fc+d&type=output&x=%7e~&&y"
    for query in (f"api_key={guard.key}&{rest}", f"{rest}&api_key={guard.key}", f"{rest}&token={guard.key}", f"token={guard.key}&{rest}"):
        mark = guard.upstream.mark()
        guard.get(f"/_standin/env?{query}", h2=h2)
        (seen,) = guard.upstream.since(mark)
        assert seen.target == f"/_standin/env?{rest}"
    mark = guard.upstream.mark()
    guard.get(f"/_standin/env?token={guard.key}", headers={"X-API-Key": guard.key, **guard.bearer}, h2=h2)
    (seen,) = guard.upstream.since(mark)
    assert seen.target == "/_standin/env"
    assert seen.all("authorization") == seen.all("x-api-key") == []
    assert guard.key not in guard.upstream.raw_record()
