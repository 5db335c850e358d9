import unittest

from ledger import MAX_TRANSFER, Account, InsufficientFunds, Ledger


class Hidden(unittest.TestCase):
    def test_accounts(self):
        with self.assertRaises(ValueError):
            Account("")
        account = Account("x")
        self.assertEqual(account.balance, 0)
        for bad in (0, -1):
            with self.assertRaises(ValueError):
                account.deposit(bad)
            with self.assertRaises(ValueError):
                account.withdraw(bad)
        account.deposit(7)
        self.assertEqual(account.withdraw(3), 4)
        self.assertEqual(account.history, [("deposit", 7), ("withdraw", 3)])
        with self.assertRaises(InsufficientFunds):
            account.withdraw(5)
        self.assertEqual(account.balance, 4)
        self.assertEqual(account.deposit(1), 5)

    def test_transfers(self):
        ledger = Ledger()
        ledger.open("a", 50_000)
        ledger.open("b")
        self.assertEqual(ledger.transfer("a", "b", MAX_TRANSFER), 100)
        self.assertEqual(ledger.accounts["a"].balance, 39_900)
        self.assertEqual(ledger.transfer("b", "a", 99), 0)
        self.assertEqual(ledger.transfer("b", "a", 150), 1)
        self.assertEqual(ledger.total(), 50_000 - 101)
        with self.assertRaises(ValueError):
            ledger.transfer("a", "b", MAX_TRANSFER + 1)
        with self.assertRaises(KeyError):
            ledger.transfer("a", "nobody", 1)
        self.assertEqual(ledger.richest(), "a")
        self.assertEqual(ledger.statement("b"), ["deposit 10000", "withdraw 99", "withdraw 151"])
        self.assertEqual(ledger.statement("b", 2), ["withdraw 99", "withdraw 151"])

    def test_richest(self):
        ledger = Ledger()
        self.assertIsNone(ledger.richest())
        ledger.open("x", 3)
        ledger.open("y", 9)
        ledger.open("z", 9)
        self.assertEqual(ledger.richest(), "y")
        with self.assertRaises(KeyError):
            ledger.open("x", 1)
        self.assertEqual(ledger.accounts["x"].balance, 3)


if __name__ == "__main__":
    unittest.main()
