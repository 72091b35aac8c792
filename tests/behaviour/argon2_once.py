"""A right key costs one argon2 run per process, not one per request; wrong keys cost a bounded share.

Pitfall P14: a hash per request is a self-inflicted denial of service.
"""

import threading

from harness import procs
from harness.wait import Stopwatch


def cost_of_one(guard) -> float:
    """CPU seconds that the supervisor spends on one argon2 run, measured with wrong keys."""
    pid, runs = guard.pids()["supervisor"], 10
    before = procs.cpu_seconds(pid)
    for number in range(runs):
        assert guard.get("/queue", headers={"X-API-Key": f"wrong-{number}"}).status in (401, 429)
    return (procs.cpu_seconds(pid) - before) / runs


def test_ten_thousand_requests_cost_the_supervisor_no_more_than_one(fresh):
    running = fresh(config={"log": {"access": False}})
    one = cost_of_one(running)
    assert one > 0.003, "the measure itself: a wrong key must cost an argon2 run in the supervisor"
    pid = running.pids()["supervisor"]
    before, wrong = procs.cpu_seconds(pid), []

    def guest(h2: bool, forms: list):
        with running.client(h2) as client:
            for number in range(2500):
                headers, query = forms[number % len(forms)]
                status = running.get("/_standin/bytes/1" + query, headers=headers, client=client).status
                if status != 200:
                    wrong.append(status)

    forms = [(running.bearer, ""), ({"X-API-Key": running.key}, ""), ({}, f"?api_key={running.key}"), ({}, f"?token={running.key}")]
    guests = [threading.Thread(target=guest, args=(number % 2 == 1, forms)) for number in range(4)]
    for thread in guests:
        thread.start()
    for thread in guests:
        thread.join()
    assert wrong == []
    spent = procs.cpu_seconds(pid) - before
    # One run, plus what the supervisor spends on its own clockwork meanwhile; 10,000 runs would be minutes.
    assert spent < 5 * one + 0.5, f"{spent:.2f} s for 10,000 requests, {one:.3f} s for one hash"


def test_guest_with_the_right_key_does_not_feel_a_flood_of_wrong_ones(fresh):
    running = fresh()
    assert running.get("/queue", key=True).status == 200
    stop = threading.Event()

    def attacker(name: int):
        with running.client() as client:
            number = 0
            while not stop.is_set():
                number += 1
                running.get("/queue", headers={"X-API-Key": f"flood-{name}-{number}"}, client=client)

    attackers = [threading.Thread(target=attacker, args=(name,)) for name in range(8)]
    for thread in attackers:
        thread.start()
    try:
        slowest = 0.0
        with running.client() as client:
            for _ in range(100):
                clock = Stopwatch()
                assert running.get("/prompt", key=True, client=client).status == 200
                slowest = max(slowest, clock())
        assert slowest < 1.0
    finally:
        stop.set()
        for thread in attackers:
            thread.join()
