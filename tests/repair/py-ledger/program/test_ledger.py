import unittest

from ledger import Account, InsufficientFunds, Ledger


class AccountTest(unittest.TestCase):
    def test_deposit(self):
        account = Account("ann", 5)
        self.assertEqual(account.deposit(10), 15)
        with self.assertRaises(ValueError):
            account.deposit(0)

    def test_withdraw(self):
        account = Account("ann", 10)
        self.assertEqual(account.withdraw(10), 0)
        with self.assertRaises(InsufficientFunds):
            account.withdraw(1)


class LedgerTest(unittest.TestCase):
    def setUp(self):
        self.ledger = Ledger()
        self.ledger.open("ann", 1000)
        self.ledger.open("bob", 50)

    def test_transfer(self):
        self.assertEqual(self.ledger.transfer("ann", "bob", 200), 2)
        self.assertEqual(self.ledger.accounts["ann"].balance, 798)
        self.assertEqual(self.ledger.accounts["bob"].balance, 250)

    def test_limit(self):
        with self.assertRaises(ValueError):
            self.ledger.transfer("ann", "bob", 10_001)

    def test_total_and_richest(self):
        self.assertEqual(self.ledger.total(), 1050)
        self.assertEqual(self.ledger.richest(), "ann")
        self.assertIsNone(Ledger().richest())

    def test_twice(self):
        with self.assertRaises(KeyError):
            self.ledger.open("ann")

    def test_statement(self):
        account = self.ledger.accounts["bob"]
        account.deposit(5)
        account.withdraw(3)
        self.assertEqual(self.ledger.statement("bob"), ["deposit 5", "withdraw 3"])
        self.assertEqual(self.ledger.statement("bob", 1), ["withdraw 3"])


if __name__ == "__main__":
    unittest.main()
