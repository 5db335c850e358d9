//! grace-plan
