"""Another site's page in the browser of somebody who is signed in: it can change nothing, hear nothing, read nothing, and is told nothing.

Pitfall P9 and the cookie's half of P23. Where the other site is the same host on another port, the browser sends the cookie along
whatever SameSite says: then only the guard's check of the origin stands in between.
"""

import pytest

from harness.foreign import Foreign

# Of what the other page tries; the front end itself calls these below /api.
CHANGES = {"POST /prompt", "POST /queue", "POST /interrupt", "POST /upload/image"}


@pytest.fixture(params=[False, True], ids=["another site", "same host, another port"])
def other(request):
    with Foreign(tls=request.param) as running:
        yield running


def test_other_site_can_do_nothing_and_is_told_nothing(fresh, profile, other):
    guard = fresh()
    seen = profile(guard, *([other.place] if other.tls else [])).run("foreign", other=other.origin)
    found = seen["found"]
    (cookie,) = found["cookies"]
    reached = [f"{one.method} {one.target}" for one in guard.upstream.since(0)]
    assert found["job"] == 200 and found["running"] == 1, "the job did not run, or was ended from there"
    assert reached.count("POST /api/prompt") == 1
    assert not [one for one in reached if "foreign" in one or "/_standin/push" in one or one.split("?")[0] in CHANGES]
    if other.tls:
        assert found["sockets"] == ["refused"] * 4
    else:
        # Without a cookie it is nobody's socket, which hears no more than /health tells everybody.
        assert [set(heard) if heard != "refused" else heard for heard in found["sockets"]] == [{"status"}, {"status"}, {"status"}, "refused"]
    assert found["read"] == []
    assert found["framed"] == "closed"
    assert found["still"] == 200, "the session was ended or replaced from there"
    if other.tls:
        # Otherwise the test would prove SameSite, not the guard.
        sent = [one for one in seen["requests"] if one["method"] == "POST" and one["url"].endswith("/interrupt")]
        assert any(cookie["value"] in one["headers"].get("cookie", "") for one in sent)
    names = {"out-fetch", "out-request", "out-credentials", "out-xhr", "out-image", "out-beacon"}
    assert {name for name in names if other.since(name)} == names
    for secret in (guard.key, found["token"], *([] if other.tls else [cookie["value"]])):
        assert secret not in str(other)
    assert not any("authorization" in one["headers"] or "x-api-key" in one["headers"] for one in other.record)
