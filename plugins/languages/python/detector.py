"""A detector in Python: a finding for each instance whose probe fails.

It keeps its memory as JSON, and puts into the summary what it sees of the world, which is the
same in every call: a plugin without a grant sees clocks that stand still, random numbers that
repeat, no environment, no input and no files.
"""

import json
import os
import random
import secrets
import socket
import sys
import time

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import detect
from wit_world.imports import config, log, types


def world():
    """What there is to see."""
    try:
        files = os.listdir("/")
    except OSError as error:
        files = type(error).__name__
    try:
        socket.socket().connect((b"127.0.0.1", 80))
        network = "open"
    except OSError:
        network = "closed"
    return {
        "clock_ms": int(time.time() * 1000),
        "monotonic_ns": time.monotonic_ns(),
        "random": random.random(),
        "secret": secrets.token_hex(8),
        "variables": len(os.environ),
        "stdin": sys.stdin.read(),
        "files": files,
        "network": network,
    }


class Detect(exports.Detect):
    def observe(self, state: bytes, batch: detect.Batch) -> detect.Observed:
        memory = json.loads(state) if state else {"calls": 0}
        memory["calls"] += 1
        mode = config.get("mode")
        findings = []
        for seen in batch.observations:
            if mode == "exit":
                sys.exit(3)
            if mode == "fail":
                raise RuntimeError("as it was told")
            if mode == "polite":
                raise Err(types.PluginError_Unavailable("not now"))
            if mode == "grow":
                kept = [bytes(1 << 20) for _ in range(1 << 10)]
                log.emit(log.Level.INFO, str(len(kept)))
            findings.append(
                types.Finding(
                    kind="probe-failed",
                    target=seen.target,
                    severity=types.Severity.MODERATE,
                    confidence_permille=900,
                    summary=json.dumps(world()),
                    cause="the probe fails",
                    evidence=[
                        types.Field("calls", types.Value_Integer(memory["calls"])),
                        types.Field("mode", types.Value_Text(mode or "")),
                    ],
                )
            )
        log.emit(log.Level.DEBUG, f"{len(findings)} findings")
        return detect.Observed(json.dumps(memory).encode(), findings)
