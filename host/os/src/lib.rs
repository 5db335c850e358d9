//! grace-os
