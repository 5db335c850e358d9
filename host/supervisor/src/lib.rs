//! grace-supervisor
