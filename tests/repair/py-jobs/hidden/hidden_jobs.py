from jobs import Job, Queue, duration, load, merge

assert load() == {"title": "jobs", "queue": {"most_tries": 3, "timeout": "5m"}, "workers": {"count": 2, "names": ["a", "b"]}}
queue = Queue()
for name, priority in (("a", 1), ("b", 3), ("c", 2), ("d", 3)):
    queue.add(Job(name, priority))
assert [queue.take().name for _ in range(4)] == ["b", "d", "c", "a"]
assert queue.take() is None
assert queue.summary() == {"running": 4}
assert queue.failed("a") and queue.failed("b")
assert queue.summary() == {"running": 2, "waiting": 2}
assert queue.take().name == "b" and queue.jobs["b"].tries == 2
queue.done("c")
assert queue.summary() == {"running": 2, "waiting": 1, "done": 1}
queue = Queue()
queue.add(Job("z", 0, ["x", "y"]))
assert queue.take() is None
queue.add(Job("x"))
queue.add(Job("y", 1))
assert queue.take().name == "y"
queue.done("y")
assert queue.take().name == "x"
assert queue.take() is None
queue.done("x")
assert queue.take().name == "z"
queue = Queue()
queue.add(Job("t"))
for tries in (1, 2, 3):
    assert queue.take().tries == tries
    assert queue.failed("t") == (tries < 3)
assert queue.jobs["t"].state == "failed" and queue.take() is None
needs = ["q"]
assert Job("n", 0, needs).needs == ["q"] and Job("n", 0, needs).needs is not needs
assert Job("n").needs == []
assert [duration(text) for text in ("7s", "10m", "1h")] == [7, 600, 3600]
assert merge([]) == []
assert merge([(1, 2), (2, 5), (9, 10), (8, 9)]) == [(1, 5), (8, 10)]
assert merge([(1, 2), (3, 4)]) == [(1, 2), (3, 4)]
