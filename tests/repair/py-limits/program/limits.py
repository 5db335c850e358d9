"""Rate limits per client, with windows, settings from a file, and a cache of answers."""

import json
import os


def load(path=None):
    path = path or os.path.join(os.path.dirname(__file__), "settings.json")
    with open(path) as file:
        settings = json.load(file)
    if settings["window"] <= 0:
        raise ValueError("window must be positive")
    return settings


class Window:
    def __init__(self, limit, seconds):
        self.limit = limit
        self.seconds = seconds
        self.hits = {}

    def allow(self, client, now):
        hits = self.hits.setdefault(client, [])
        while hits and hits[0] <= now - self.seconds:
            hits.pop(0)
        if len(hits) >= self.limit:
            return False
        hits.append(now)
        return True

    def remaining(self, client):
        return max(0, self.limit - len(self.hits.get(client, [])))


class Cache:
    def __init__(self, size):
        self.size = size
        self.entries = {}
        self.order = []

    def get(self, key, default=None):
        if key not in self.entries:
            return default
        self.order.remove(key)
        self.order.append(key)
        return self.entries[key]

    def put(self, key, value):
        if key in self.entries:
            self.order.remove(key)
        elif len(self.entries) >= self.size:
            oldest = self.order.pop(0)
            del self.entries[oldest]
        self.entries[key] = value
        self.order.append(key)


def parse_query(text):
    result = {}
    for part in text.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        result.setdefault(name, []).append(value)
    return result


def backoff(attempt, base=1, most=60):
    delay = base
    count = 0
    while count < attempt:
        delay = delay * 2
        count += 1
    return min(delay, most)


def percentile(values, share):
    if not values:
        return None
    ordered = sorted(values)
    index = int(len(ordered) * share / 100)
    if index >= len(ordered):
        index = len(ordered) - 1
    return ordered[index]
