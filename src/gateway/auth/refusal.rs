//! Requests that no credential makes acceptable, and what their sender is told.

use http::StatusCode;

/// Why a request is refused before anybody asks who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its target is over [`super::decide::MAX_TARGET`].
    TargetTooLong,
    /// A method that nobody may use here; the value of `Allow` that belongs to the answer.
    MethodNotAllowed(&'static str),
    /// An absolute target of another scheme: meant for a forward proxy.
    BadScheme,
    /// `Host` (or `:authority`) missing, repeated or not a host.
    BadHost,
    /// `Host` names another host than the request target.
    HostMismatch,
    /// Both `Transfer-Encoding` and `Content-Length`: two readers could see two bodies.
    TwoLengths,
    /// A `Transfer-Encoding` other than one `chunked` of HTTP/1.1.
    BadTransferEncoding,
    /// `Content-Length` repeated or not a number.
    BadContentLength,
    /// The path is not one.
    BadPath,
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The word for programs (`error` in the answer's JSON).
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::TargetTooLong => "target_too_long",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::BadScheme => "bad_scheme",
            Self::BadHost => "bad_host",
            Self::HostMismatch => "host_mismatch",
            Self::TwoLengths => "two_lengths",
            Self::BadTransferEncoding => "bad_transfer_encoding",
            Self::BadContentLength => "bad_content_length",
            Self::BadPath => "bad_path",
        }
    }

    /// The sentence for people (`message` in the answer's JSON). Holds nothing that the sender wrote.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TargetTooLong => "The request target is longer than 8000 bytes.",
            Self::MethodNotAllowed(_) => "This method is not allowed here.",
            Self::BadScheme => "The request target is neither http nor https.",
            Self::BadHost => "The request must name exactly one valid host.",
            Self::HostMismatch => "The Host header and the request target name different hosts.",
            Self::TwoLengths => "The request has both Transfer-Encoding and Content-Length.",
            Self::BadTransferEncoding => "Transfer-Encoding must be \"chunked\" alone, in HTTP/1.1.",
            Self::BadContentLength => "Content-Length must be one number.",
            Self::BadPath => "The path has a bad percent escape, a control character or no leading slash.",
        }
    }

    /// The value of the `Allow` header, which RFC 9110 section 15.5.6 demands with a 405.
    pub(crate) fn allow(self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed(allow) => Some(allow),
            _ => None,
        }
    }

    /// Whether the connection must not be used again, because where the body ends is in doubt (RFC 9112 section 6.1).
    pub(crate) fn ends_connection(self) -> bool {
        matches!(self, Self::TwoLengths | Self::BadTransferEncoding | Self::BadContentLength)
    }
}
