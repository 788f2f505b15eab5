use domain::{KeyName, RequestId};

/// On whose behalf something is done.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The key that the caller bore.
    pub key_name: Option<KeyName>,
    /// The request in which it came.
    pub request_id: Option<RequestId>,
}
