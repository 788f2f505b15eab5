//! Histories as commands show them: whole.

use domain::Delivery;
use ports::{DeliveryFilter, History, LedgerError};

/// How many audit entries are read in one transaction.
const PAGE: i64 = 5_000;

/// Every audit entry that the filter lets through, newest first, whatever its limit.
pub(crate) fn all_deliveries(history: &dyn History, filter: DeliveryFilter) -> Result<Vec<Delivery>, LedgerError> {
    let mut filter = DeliveryFilter { limit: PAGE, ..filter };
    let mut all = Vec::new();
    loop {
        let page = history.deliveries(&filter)?;
        let Some(last) = page.last() else { return Ok(all) };
        filter.before = Some(last.provenance.delivery_id);
        all.extend(page);
    }
}
