"""A small ledger: accounts, transfers with a fee, statements."""

FEE_PERCENT = 1
MAX_TRANSFER = 10_000


class InsufficientFunds(Exception):
    pass


class Account:
    def __init__(self, owner, balance=0):
        if not owner:
            raise ValueError("an account needs an owner")
        self.owner = owner
        self.balance = balance
        self.history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance += amount
        self.history.append(("deposit", amount))
        return self.balance

    def withdraw(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        if amount > self.balance:
            raise InsufficientFunds(self.owner)
        self.balance -= amount
        self.history.append(("withdraw", amount))
        return self.balance


class Ledger:
    def __init__(self):
        self.accounts = {}

    def open(self, owner, balance=0):
        if owner in self.accounts:
            raise KeyError(owner)
        account = Account(owner, balance)
        self.accounts[owner] = account
        return account

    def transfer(self, source, target, amount):
        if amount > MAX_TRANSFER:
            raise ValueError("amount is too large")
        giver = self.accounts[source]
        taker = self.accounts[target]
        fee = amount * FEE_PERCENT // 100
        giver.withdraw(amount + fee)
        taker.deposit(amount)
        return fee

    def total(self):
        total = 0
        for account in self.accounts.values():
            total += account.balance
        return total

    def richest(self):
        best = None
        for account in self.accounts.values():
            if best is None or account.balance > best.balance:
                best = account
        return best.owner if best is not None else None

    def statement(self, owner, last=None):
        history = self.accounts[owner].history
        if last is not None:
            history = history[-last:]
        return [f"{kind} {amount}" for kind, amount in history]
