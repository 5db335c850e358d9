//! grace-demo
