//! grace-ledger
