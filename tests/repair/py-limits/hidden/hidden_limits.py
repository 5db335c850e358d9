from limits import Cache, Window, backoff, load, parse_query, percentile

settings = load()
assert settings == {"limit": 3, "window": 10, "clients": ["web", "app"], "cache": {"size": 2, "enabled": True}}
import json, os, tempfile
for bad in (0, -1):
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"window": bad}, file)
    try:
        load(file.name)
        raise SystemExit("no error")
    except ValueError:
        pass
window = Window(3, 5)
assert [window.allow("x", t) for t in (0, 1, 2, 3, 4)] == [True, True, True, False, False]
assert window.remaining("x") == 0
assert window.allow("x", 5) and not window.allow("x", 5.5)
assert window.allow("x", 6) and window.allow("y", 6)
assert window.remaining("y") == 2
assert window.hits["x"] == [2, 5, 6]
cache = Cache(3)
for n in range(5):
    cache.put(n, n * n)
assert cache.order == [2, 3, 4] and sorted(cache.entries) == [2, 3, 4]
assert cache.get(2) == 4 and cache.order == [3, 4, 2]
cache.put(5, 25)
assert cache.get(3) is None and cache.get(3, "no") == "no"
cache.put(4, 0)
assert cache.order == [2, 5, 4] and cache.get(4) == 0
assert parse_query("") == {}
assert parse_query("x&y=&x=1=2") == {"x": ["", "1=2"], "y": [""]}
assert [backoff(n) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
assert backoff(2, 3) == 12 and backoff(5, 3, 20) == 20
assert percentile([10], 0) == 10 and percentile([10, 20, 30, 40], 25) == 20
assert percentile([4, 3, 2, 1], 99) == 4 and percentile([5, 6], 0) == 5
