"""A queue of jobs with priorities, tries and dependencies; settings in TOML."""

import heapq
import os
import tomllib


def load(path=None):
    path = path or os.path.join(os.path.dirname(__file__), "jobs.toml")
    with open(path, "rb") as file:
        return tomllib.load(file)


class Job:
    def __init__(self, name, priority=0, needs=None):
        self.name = name
        self.priority = priority
        self.needs = list(needs or [])
        self.tries = 0
        self.state = "waiting"


class Queue:
    def __init__(self, most_tries=3):
        self.most_tries = most_tries
        self.jobs = {}
        self.heap = []
        self.count = 0

    def add(self, job):
        if job.name in self.jobs:
            raise ValueError("job exists: " + job.name)
        self.jobs[job.name] = job
        self.push(job)

    def push(self, job):
        heapq.heappush(self.heap, (-job.priority, self.count, job.name))
        self.count += 1

    def ready(self, job):
        for name in job.needs:
            other = self.jobs.get(name)
            if other is None or other.state != "done":
                return False
        return True

    def take(self):
        skipped = []
        found = None
        while self.heap:
            entry = heapq.heappop(self.heap)
            job = self.jobs[entry[2]]
            if self.ready(job):
                found = job
                break
            skipped.append(entry)
        for entry in skipped:
            heapq.heappush(self.heap, entry)
        if found is not None:
            found.state = "running"
            found.tries += 1
        return found

    def done(self, name):
        self.jobs[name].state = "done"

    def failed(self, name):
        job = self.jobs[name]
        if job.tries < self.most_tries:
            job.state = "waiting"
            self.push(job)
            return True
        job.state = "failed"
        return False

    def summary(self):
        result = {}
        for job in self.jobs.values():
            result[job.state] = result.get(job.state, 0) + 1
        return result


def duration(text):
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = text[:-1], text[-1]
    if unit not in units:
        raise ValueError("unknown unit: " + unit)
    return int(number) * units[unit]


def merge(intervals):
    merged = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
