//! grace-healer
