//! What a fault in the path between load balancer and instance tells the load balancer.

use serde::{Deserialize, Serialize};

use crate::id::InstanceId;
use crate::instance::ProcessId;

/// New connections to an instance go to a relay instead, while the relay's owner lives. One file
/// an instance, `INSTANCE.detour` in the directory of [`crate::layout::Layout::chaos`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detour {
    /// Whose connections.
    pub instance: InstanceId,
    /// The relay's port on the loopback.
    pub port: u16,
    /// The process that relays. Once it is gone there is no detour, whatever the file says.
    pub owner: ProcessId,
}
