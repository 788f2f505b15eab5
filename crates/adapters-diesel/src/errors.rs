use std::collections::BTreeSet;

use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};
use domain::PaymentId;
use ports::LedgerError;

/// What can go wrong within a transaction.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database's own error.
    #[error(transparent)]
    Database(#[from] DieselError),
    /// No session could be opened.
    #[error(transparent)]
    Connecting(#[from] ConnectionError),
    /// The database gave no answer in time. What was being committed may be stored.
    #[error("the database gave no answer in time")]
    NoAnswer,
    /// A stored value cannot be understood.
    #[error("{what} cannot be understood: {value:?}")]
    Corrupt {
        /// The table and the column.
        what: &'static str,
        /// What was found there.
        value: String,
    },
    /// Another session has locked these payments or their orders.
    #[error("{} payments or their orders are locked by another session", .payments.len())]
    Held {
        /// Those of the payments asked for.
        payments: BTreeSet<PaymentId>,
    },
    /// What was decided without locks rests on a row that it does not write: a change to it would go unnoticed.
    #[error("the decision rests on rows that are not locked")]
    RestsOnUnlocked,
    /// A payment or order that was expected is not registered.
    #[error("a payment or its order is not registered")]
    Unregistered,
}

impl StorageError {
    /// Whether another transaction was faster, so that this one can succeed when it runs again.
    #[must_use]
    pub fn lost_a_race(&self) -> bool {
        matches!(
            self,
            Self::Database(DieselError::DatabaseError(
                DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::UniqueViolation,
                _
            ))
        )
    }

    /// Whether what failed without locks can succeed with them.
    #[must_use]
    pub fn needs_locks(&self) -> bool {
        self.lost_a_race() || matches!(self, Self::Unregistered | Self::RestsOnUnlocked)
    }

    /// Whether the database has answered with an error that says nothing of other transactions: a lock or a
    /// statement that took too long, say.
    #[must_use]
    pub fn is_particular(&self) -> bool {
        matches!(
            self,
            Self::Database(DieselError::DatabaseError(
                DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::Unknown,
                _
            ))
        )
    }

    /// Whether the session that met this error is of no further use, as far as can be told: one that turned
    /// read-only, whose prepared statements or plans do not hold any more, or that is closed. What a database says
    /// about rows and other transactions does not concern the session; beyond that Diesel tells no kinds apart, and
    /// another session costs little.
    #[must_use]
    pub fn ends_the_session(&self) -> bool {
        match self {
            Self::Database(DieselError::DatabaseError(kind, _)) => !matches!(
                kind,
                DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::NotNullViolation
                    | DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::ExclusionViolation
                    | DatabaseErrorKind::RestrictViolation
                    | DatabaseErrorKind::SerializationFailure
            ),
            Self::Database(
                DieselError::NotFound | DieselError::DeserializationError(_) | DieselError::SerializationError(_),
            )
            | Self::Corrupt { .. }
            | Self::Held { .. }
            | Self::RestsOnUnlocked
            | Self::Unregistered => false,
            Self::Database(_) | Self::Connecting(_) | Self::NoAnswer => true,
        }
    }
}

impl From<StorageError> for LedgerError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupt { what, value } => Self::Corrupt { what, value },
            StorageError::Held { payments } => Self::Held { payments },
            StorageError::Database(DieselError::DatabaseError(
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::ExclusionViolation
                | DatabaseErrorKind::RestrictViolation,
                _,
            ))
            | StorageError::Database(DieselError::DeserializationError(_) | DieselError::SerializationError(_)) => {
                Self::Refused(error.into())
            }
            // Out of reach, out of time, out of space, shutting down: all of it can pass.
            StorageError::Database(_)
            | StorageError::Connecting(_)
            | StorageError::NoAnswer
            | StorageError::RestsOnUnlocked
            | StorageError::Unregistered => Self::Unavailable(error.into()),
        }
    }
}
