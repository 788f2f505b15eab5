use std::time::Duration;

use uuid::Uuid;

use crate::LedgerError;

/// Leases on background work that replicas share: of all who ask for a name, one has it at a time, for as long as it
/// renews it before its end.
///
/// Only the store's clock counts: that of the PostgreSQL server, or that of the machine, which all processes on an
/// SQLite file share. A caller names a duration and never a time, so a replica with a wrong clock takes no lease too
/// early and keeps none too long.
///
/// A lease saves work and is no lock: a holder that is halted, and goes on after the end of its lease, does not notice
/// that another one has it. What is done under a lease must be correct when two do it.
pub trait Leases: Send + Sync {
    /// Takes the lease of this name, or renews it if `holder` has it already. Its end is `duration` after the store
    /// grants it. `false` if another holder has it, whose lease has not ended. Blocks; costs what a commit costs.
    ///
    /// # Errors
    /// See [`LedgerError`]. If the store became unavailable while it was committing, `holder` may have the lease.
    fn acquire(&self, name: &str, holder: Uuid, duration: Duration) -> Result<bool, LedgerError>;

    /// Gives the lease of this name up, so that another holder need not wait for its end. Changes nothing if `holder`
    /// does not have it. Blocks; costs what a commit costs.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn release(&self, name: &str, holder: Uuid) -> Result<(), LedgerError>;
}
