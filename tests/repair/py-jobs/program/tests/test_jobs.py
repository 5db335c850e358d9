import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from jobs import Job, Queue, duration, load, merge


class Jobs(unittest.TestCase):
    def test_settings(self):
        settings = load()
        self.assertEqual(settings["queue"]["most_tries"], 3)
        self.assertEqual(duration(settings["queue"]["timeout"]), 300)
        self.assertEqual(settings["workers"], {"count": 2, "names": ["a", "b"]})

    def test_priority(self):
        queue = Queue()
        queue.add(Job("low"))
        queue.add(Job("high", 5))
        queue.add(Job("low2"))
        self.assertEqual([queue.take().name for _ in range(3)], ["high", "low", "low2"])
        self.assertIsNone(queue.take())

    def test_needs(self):
        queue = Queue()
        queue.add(Job("b", 9, ["a"]))
        queue.add(Job("a"))
        self.assertEqual(queue.take().name, "a")
        self.assertIsNone(queue.take())
        queue.done("a")
        self.assertEqual(queue.take().name, "b")

    def test_tries(self):
        queue = Queue(2)
        queue.add(Job("x"))
        queue.take()
        self.assertTrue(queue.failed("x"))
        self.assertEqual(queue.take().tries, 2)
        self.assertFalse(queue.failed("x"))
        self.assertEqual(queue.summary(), {"failed": 1})

    def test_twice(self):
        queue = Queue()
        queue.add(Job("x"))
        with self.assertRaises(ValueError):
            queue.add(Job("x"))

    def test_helpers(self):
        self.assertEqual(duration("2h"), 7200)
        with self.assertRaises(ValueError):
            duration("3x")
        self.assertEqual(merge([(5, 7), (1, 3), (2, 4)]), [(1, 4), (5, 7)])
        self.assertEqual(merge([(1, 9), (2, 3)]), [(1, 9)])


if __name__ == "__main__":
    unittest.main()
