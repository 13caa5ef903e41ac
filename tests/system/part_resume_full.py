"""The whole of part_resume: 500 streams of 2,000 events of each kind (some six minutes)."""
from part_resume import BREAK_EVERY, Exact, exact, slow, start, start_slow

# 33 events a second: at most 67 while a client is away, of the 1,000 that a log holds.
SIZES = (500, 2000, 30)


def run():
    for kind in ("http", "stdio"):
        peers = start(kind)
        for what, flags in (("POST", ["--post", "--seed", 21]), ("GET", ["--seed", 22])):
            exact(kind, Exact(f"{kind}-{what.lower()}", peers, *SIZES, *flags), what)
        if kind == "http":  # 30 seconds without a byte taken
            slow_post = start_slow("http-post-slow", peers, 36000, "--post", "--seed", 24)
            slow_get = start_slow("http-get-slow", peers, 36000, "--seed", 25)
            slow(kind, slow_post, "POST")
            slow(kind, slow_get, "GET")
        for peer in peers:
            peer.end()
    broken = Exact("http-breaks", start("http", BREAK_EVERY), *SIZES, "--seed", 23)
    exact(f"http, its upstream ends its own stream every {BREAK_EVERY} events", broken, "GET")
