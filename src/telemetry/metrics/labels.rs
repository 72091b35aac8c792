//! The labels of what is counted while guests are served: each with all the values that it can ever have, so that no guest can
//! make a series, and each value's counter is there before the first request.

/// A label whose values are known beforehand.
pub(crate) trait Label: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// All its values.
    const ALL: &'static [Self];

    /// The value as it is written.
    fn word(self) -> &'static str;

    /// Where it stands in [`Label::ALL`].
    fn place(self) -> usize;
}

/// An enum that is a label, with a word for each variant.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident $key:literal { $($(#[$about:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$about])* $variant,)+
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// What a request was about.
    Class "class" {
        /// A page or an answer of the guard's own.
        Own = "own",
        /// One of ComfyUI's static files, for which no key is needed.
        Static = "static",
        /// All else that is ComfyUI's.
        Api = "api",
        /// A WebSocket's handshake.
        Websocket = "websocket",
        /// Refused before anybody asked who sent it.
        Refused = "refused",
    }
}

label! {
    /// In which form a credential came.
    CredentialKind "kind" {
        /// `Authorization: Bearer`
        Bearer = "bearer",
        /// `X-API-Key`
        Header = "x_api_key",
        /// `?api_key=` or `?token=`
        Query = "query",
        /// `Authorization: Basic`
        Basic = "basic",
        /// The session's cookie.
        Cookie = "cookie",
        /// Typed into the login page.
        Login = "login",
        /// None.
        None = "none",
    }
}

label! {
    /// What came of it.
    Outcome "result" {
        /// The right key, or a session that lives.
        Right = "right",
        /// Another key, or a session that is over.
        Wrong = "wrong",
        /// Too many keys were being checked.
        Busy = "busy",
        /// Something that cannot be a key.
        Malformed = "malformed",
        /// A cookie, and no page of ours is shown to have sent it.
        CrossSite = "cross_site",
        /// Nothing was presented.
        None = "none",
    }
}

label! {
    /// How a TLS handshake ended.
    Handshake "result" {
        /// Well.
        Ok = "ok",
        /// The guest took too long.
        Timeout = "timeout",
        /// The guest went away.
        Left = "left",
        /// What came is not TLS.
        NotTls = "not_tls",
        /// No common version or cipher.
        NothingInCommon = "nothing_in_common",
        /// The guest ended it with an alert: it does not trust the certificate, as a rule.
        Alert = "alert",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// The version of TLS that was agreed on.
    TlsVersion "version" {
        /// RFC 5246
        Tls12 = "1.2",
        /// RFC 8446
        Tls13 = "1.3",
    }
}

label! {
    /// Whether a session of TLS was taken up again.
    Resumed "resumed" {
        /// A whole handshake.
        No = "false",
        /// By a ticket.
        Yes = "true",
    }
}

label! {
    /// Whose WebSocket.
    Socket "kind" {
        /// ComfyUI's own.
        Comfyui = "comfyui",
        /// The gateway's, for guests without a credential.
        Anonymous = "anonymous",
    }
}

label! {
    /// How a connection to ComfyUI was made.
    Dialled "result" {
        /// It was.
        Opened = "opened",
        /// Nothing listens.
        Refused = "refused",
        /// Not in time, or not at all.
        Failed = "failed",
    }
}

label! {
    /// How a job of ComfyUI's ended.
    Job "result" {
        /// With its outputs.
        Completed = "completed",
        /// With an error.
        Failed = "failed",
        /// Interrupted.
        Cancelled = "cancelled",
        /// It ended, and ComfyUI's record of it was not read.
        Unknown = "unknown",
    }
}

/// The status codes that have a series of their own; what else ComfyUI's custom nodes may think of is counted together.
const CODES: [(u16, &str); 29] = [
    (101, "101"),
    (200, "200"),
    (201, "201"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (416, "416"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (0, "other"),
];

/// A status code of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(u16);

impl Code {
    /// The code of an answer with this status.
    pub(crate) fn of(status: u16) -> Self {
        let known = CODES.iter().any(|(code, _)| *code == status);
        Self(if known { status } else { 0 })
    }
}

impl Label for Code {
    const KEY: &'static str = "code";
    const ALL: &'static [Self] = &{
        let mut all = [Self(0); CODES.len()];
        let mut place = 0;
        while place < CODES.len() {
            #[allow(clippy::indexing_slicing, reason = "at compile time, where a wrong index is an error")]
            {
                all[place] = Self(CODES[place].0);
            }
            place += 1;
        }
        all
    };

    fn word(self) -> &'static str {
        CODES.iter().find(|(code, _)| *code == self.0).map_or("other", |(_, word)| word)
    }

    fn place(self) -> usize {
        CODES.iter().position(|(code, _)| *code == self.0).unwrap_or(CODES.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn in_place<L: Label + PartialEq + std::fmt::Debug>() {
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.place(), place, "{label:?}");
        }
    }

    #[test]
    fn every_value_stands_where_its_counter_is() {
        in_place::<Class>();
        in_place::<CredentialKind>();
        in_place::<Outcome>();
        in_place::<Handshake>();
        in_place::<Code>();
        in_place::<Job>();
    }

    #[test]
    fn a_status_that_nobody_knows_makes_no_series() {
        assert_eq!(Code::of(404).word(), "404");
        for status in [0, 299, 418, 600, 999] {
            assert_eq!(Code::of(status).word(), "other");
        }
    }
}
