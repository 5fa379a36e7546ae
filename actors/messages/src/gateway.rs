//! To the gateway: what goes out to clients, and who is linked.

use crate::wire::TaskCommand;
use nsfl_types::ClientId;

/// To the gateway.
#[derive(Debug)]
pub enum GatewayMsg {
    /// A command for a client. Without a link it is dropped and counted: the next inventory makes up for it.
    ToClient {
        /// For whom.
        client: ClientId,
        /// What. A task that goes out lets its client read the blobs it names.
        command: TaskCommand,
    },
}
