"""How peers time a call, as benches/peers/mod.rs does it."""
import statistics
import time


def rate(work):
    """Calls per second: of at least three calls after one that does not count, the median."""
    work()
    start, seconds = time.perf_counter(), []
    while len(seconds) < 3 or time.perf_counter() - start < 0.5:
        call = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - call)
    return 1 / statistics.median(seconds)
