use domain::KeyName;

/// What a key or a secret is called. The key itself is not kept here.
#[derive(Clone)]
pub(crate) struct Credential {
    /// In the log and in the audit trail.
    pub(crate) name: KeyName,
    /// In the metrics, which are open to all: its group and its position there, such as `payment-1`. Tells nothing
    /// of the key.
    pub(crate) label: String,
}

impl Credential {
    /// For the next key of a group that has `before` already.
    pub(crate) fn new(group: &str, before: usize, digest: &[u8; 32]) -> Self {
        Self { name: KeyName::from_sha256(digest), label: format!("{group}-{}", before + 1) }
    }
}
