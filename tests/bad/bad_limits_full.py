"""bad_limits with 5,000 slow connections against 1,024 files, and as many honest ones of one address."""
from bad_limits import run as limits


def run():
    limits(slow=5000, files=1024, seconds=20, connections=5000)
