//! Text that comes from outside, parsed once: bounded in length and free of control characters.

use std::fmt;
use std::sync::Arc;

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// More characters than the type holds.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The most characters that the type holds.
        max: usize,
    },
    /// A control character (Unicode category Cc) is in it.
    #[error("must not contain control characters")]
    ControlCharacter,
}

fn check(text: &str, max: usize) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    // A character takes one to four bytes, so most texts need no counting.
    if text.len() > max && text.chars().count() > max {
        return Err(TextError::TooLong { max });
    }
    if text.chars().any(char::is_control) {
        return Err(TextError::ControlCharacter);
    }
    Ok(())
}

macro_rules! bounded_text {
    ($(#[$doc:meta])* $Name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// How many characters it has at most.
            pub const CHARACTERS_MAX: usize = $max;

            /// Takes the text as it is, if it has 1 to
            #[doc = stringify!($max)]
            /// characters and no control character among them.
            ///
            /// # Errors
            /// [`TextError`] says which of these does not hold.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                check(text, Self::CHARACTERS_MAX)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text, exactly as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

bounded_text!(
    /// The id that payments-microservice gave a payment; opaque.
    PaymentId,
    255
);
bounded_text!(
    /// The id that the portal gave an order; opaque (`marathon:22855c43-…:1767322800123` occurs).
    OrderId,
    255
);
bounded_text!(
    /// The payment method that a sender reports, known here or not. It decides nothing: the registered one counts.
    MethodName,
    64
);
bounded_text!(
    /// The payment provider's own id of the transaction.
    TransactionId,
    255
);
bounded_text!(
    /// The number of the portal's invoice that a payment settles.
    InvoiceNumber,
    255
);
bounded_text!(
    /// The portal's id of the user whose inner balance pays.
    UserId,
    255
);
bounded_text!(
    /// Where the portal sends the customer's browser; kept for the portal, never followed.
    RedirectUrl,
    2048
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_opaque_and_keep_every_character() {
        for text in ["a", "order 3 \"ěš/\\", "marathon:22855c43-0000:1767322800123", "😀"] {
            assert_eq!(OrderId::parse(text).expect("valid").as_str(), text);
        }
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        assert!(PaymentId::parse(&"ě".repeat(255)).is_ok());
        assert_eq!(PaymentId::parse(&"ě".repeat(256)), Err(TextError::TooLong { max: 255 }));
    }

    #[test]
    fn empty_and_control_characters_are_refused() {
        assert_eq!(PaymentId::parse(""), Err(TextError::Empty));
        for text in ["a\0b", "a\nb", "\u{7f}", "\u{85}"] {
            assert_eq!(PaymentId::parse(text), Err(TextError::ControlCharacter), "{text:?}");
        }
    }
}
