"""part_flood at 100,000 datagrams a second, a minute of each (some five minutes)."""
from part_flood import run as flood


def run():
    flood(seconds=60, rate=100_000)
