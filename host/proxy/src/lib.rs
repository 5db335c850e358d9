//! grace-proxy
