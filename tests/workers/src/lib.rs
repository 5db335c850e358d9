//! grace-workers
