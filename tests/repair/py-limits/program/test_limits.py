from limits import Cache, Window, backoff, load, parse_query, percentile


def test_settings():
    settings = load()
    assert settings["limit"] == 3
    assert settings["window"] == 10
    assert settings["cache"]["size"] == 2
    assert settings["cache"]["enabled"] is True
    assert settings["clients"] == ["web", "app"]


def test_window():
    window = Window(2, 10)
    assert window.allow("a", 0)
    assert window.allow("a", 1)
    assert not window.allow("a", 2)
    assert window.allow("b", 2)
    assert window.allow("a", 10)
    assert window.remaining("a") == 0
    assert window.remaining("c") == 2


def test_cache():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("b") is None
    assert cache.get("a") == 1
    cache.put("a", 9)
    assert cache.get("a") == 9
    assert sorted(cache.order) == ["a", "c"]
    assert sorted(cache.entries) == ["a", "c"]


def test_query():
    assert parse_query("a=1&b=2&a=3") == {"a": ["1", "3"], "b": ["2"]}
    assert parse_query("a=1&&") == {"a": ["1"]}


def test_backoff():
    assert backoff(0) == 1
    assert backoff(3) == 8
    assert backoff(10) == 60


def test_percentile():
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([3, 1, 2], 100) == 3
    assert percentile([], 50) is None


if __name__ == "__main__":
    failed = 0
    for name, test in sorted(list(globals().items())):
        if name.startswith("test_"):
            try:
                test()
                print("ok", name)
            except Exception as error:
                failed += 1
                import traceback
                traceback.print_exc()
                print("FAIL", name, type(error).__name__)
    raise SystemExit(1 if failed else 0)
