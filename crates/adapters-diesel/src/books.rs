//! From rows to books, and back to the rows.

use std::collections::HashMap;

use domain::{Books, ExternalPayment, Order, OrderId, PaymentId};

use crate::rows::read_all;
use crate::{DeliveryRow, OrderRow, PartialRefundRow, PaymentRow, StorageError};

/// The keys that the database has given to payments and orders. Tables refer to each other by them; the domain knows
/// ids alone.
#[derive(Debug, Default)]
pub struct RowIds {
    /// Those of payments.
    pub payments: HashMap<PaymentId, i64>,
    /// Those of orders.
    pub orders: HashMap<OrderId, i64>,
}

impl RowIds {
    /// That of this payment.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`].
    pub fn payment(&self, id: &PaymentId) -> Result<i64, StorageError> {
        self.payments.get(id).copied().ok_or(StorageError::Unregistered)
    }

    /// That of this order.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`].
    pub fn order(&self, id: &OrderId) -> Result<i64, StorageError> {
        self.orders.get(id).copied().ok_or(StorageError::Unregistered)
    }
}

/// Opens the books at what was read: payments, each with its key and its order, and more orders with theirs.
///
/// # Errors
/// [`StorageError::Corrupt`].
pub fn open_books(
    payment_rows: Vec<(i64, PaymentRow, OrderRow)>,
    order_rows: Vec<(i64, OrderRow)>,
    partial_refunds: Vec<PartialRefundRow>,
    parked: Vec<DeliveryRow>,
) -> Result<(Books, RowIds), StorageError> {
    let mut keys = RowIds::default();
    let mut payments: Vec<ExternalPayment> = Vec::with_capacity(payment_rows.len());
    let mut orders: Vec<Order> = Vec::with_capacity(payment_rows.len() + order_rows.len());
    for (order_key, row) in order_rows {
        let order = Order::try_from(row)?;
        keys.orders.insert(order.id.clone(), order_key);
        orders.push(order);
    }
    for (payment_key, row, order_row) in payment_rows {
        let order = Order::try_from(order_row)?;
        keys.orders.insert(order.id.clone(), row.order_key);
        let payment = row.payment(order.id.clone())?;
        keys.payments.insert(payment.id.clone(), payment_key);
        payments.push(payment);
        orders.push(order);
    }
    Ok((Books::open(payments, orders, read_all(partial_refunds)?, read_all(parked)?), keys))
}
