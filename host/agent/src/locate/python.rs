//! Tracing Python: a `sitecustomize` that every interpreter of the traced run imports first. It
//! is laid on `PYTHONPATH`; nothing of the project is changed for it.

/// The module. It writes a line a test, and what ran outside of tests at the end.
pub const TRACER: &str = r#"
import os, sys

def _start():
    out = os.environ.get("GRACE_TRACE")
    root = os.environ.get("GRACE_ROOT")
    if not out or not root:
        return
    import atexit, json, threading
    root = os.path.realpath(root) + os.sep
    tests = set(filter(None, os.environ.get("GRACE_TESTS", "").split(":")))
    path = os.path.join(out, "py-%d.jsonl" % os.getpid())
    names = {}
    outside = set()
    state = {"hits": outside, "test": None, "raised": False}
    open_segments = []

    def write(test, ok, hits, stood=()):
        try:
            with open(path, "a") as file:
                file.write(json.dumps({"t": test, "ok": ok, "hits": sorted(hits), "stood": list(stood)}) + "\n")
        except OSError:
            pass

    def short(code):
        name = names.get(code.co_filename)
        if name is None:
            full = os.path.realpath(code.co_filename)
            name = full[len(root):] if full.startswith(root) else ""
            names[code.co_filename] = name
        return name

    def plain(name):
        hits = lambda line: state["hits"].add((name, line))
        def local(frame, event, arg):
            hits(frame.f_lineno)
            return local
        return local

    def test(name, title):
        before = state["hits"]
        mine = set()
        state["hits"] = mine
        raised = [False]
        def local(frame, event, arg):
            mine.add((name, frame.f_lineno))
            if event == "exception":
                raised[0] = arg[0].__name__ != "SkipTest"
            elif event == "line":
                raised[0] = False
            elif event == "return":
                state["hits"] = before
                write(title, not (raised[0] and arg is None), mine)
            return local
        return local

    def script(name):
        # Each statement at the top of a script is a test of its own; the last one failed if the
        # script ended by an error.
        current = [None, set(), False]
        def local(frame, event, arg):
            if event == "line":
                if current[0] is not None:
                    write("line %d" % current[0], True, current[1])
                current[0] = frame.f_lineno
                current[1] = set()
                current[2] = False
                state["hits"] = current[1]
            elif event == "exception":
                current[2] = True
            elif event == "return":
                failed = current[2]
                if current[0] is not None:
                    write("line %d" % current[0], not failed, current[1])
                state["hits"] = outside
            return local
        return local

    def call(frame, event, arg):
        code = frame.f_code
        name = short(code)
        if not name:
            return None
        if name in tests:
            title = code.co_name
            if title.startswith("test") and threading.current_thread() is threading.main_thread():
                return test(name, title)
            if title == "<module>" and frame.f_globals.get("__name__") == "__main__":
                return script(name)
            return None
        state["hits"].add((name, frame.f_lineno))
        return plain(name)

    def end():
        sys.settrace(None)
        write(None, True, outside)

    def stuck():
        stood = []
        frame = sys._current_frames().get(threading.main_thread().ident)
        while frame is not None:
            name = short(frame.f_code)
            if name and name not in tests:
                stood.append((name, frame.f_lineno))
            frame = frame.f_back
        write("stuck", False, set(state["hits"]), stood)
        write(None, True, outside)
        os._exit(99)

    atexit.register(end)
    seconds = float(os.environ.get("GRACE_SECONDS", "0") or 0)
    if seconds > 0:
        timer = threading.Timer(seconds, stuck)
        timer.daemon = True
        timer.start()
    threading.settrace(call)
    sys.settrace(call)

try:
    _start()
except Exception:
    pass
"#;
