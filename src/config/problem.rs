//! What can be wrong between values that are each well spelt, in words that name the cure.

use std::net::SocketAddr;

use crate::units::{Bytes, Processors, Span};

/// What is wrong with a configuration whose single values are all well spelt. Each names the cure.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Problem {
    /// No ComfyUI is named.
    #[error(
        "nothing says which ComfyUI to guard; write comfyui.directory (the folder that main.py is in), or comfyui.external for one that somebody else starts"
    )]
    NoComfyui,
    /// No ComfyUI is named, and the default file is missing.
    #[error(
        "there is no {0}, and nothing else says which ComfyUI to guard; write the file with comfyui.directory in it, or name another by --config"
    )]
    NoFile(String),
    /// One is named in both ways.
    #[error("comfyui.directory and comfyui.external exclude each other; remove the one that is not meant")]
    TwoComfyuis,
    /// A key about a process that somebody else starts.
    #[error("{0} has no meaning with comfyui.external, as somebody else starts that ComfyUI; remove it")]
    NotOurs(&'static str),
    /// One PEM file without the other.
    #[error(
        "tls.certificate and tls.private_key belong together; write {0} too, or neither for a certificate of the guard's own"
    )]
    HalfIdentity(&'static str),
    /// No authentication, and not on loopback alone.
    #[error(
        "auth.enabled = false would open ComfyUI to the network on {0}; listen on a loopback address (127.0.0.1 or [::1]), or leave authentication on"
    )]
    OpenToTheNetwork(SocketAddr),
    /// No address to listen on.
    #[error("listen.https is empty, so nobody could come in; name an address or leave the key out")]
    NoListener,
    /// One address twice in a list.
    #[error("{0} stands here twice; remove one of them")]
    ListedTwice(SocketAddr),
    /// One address in both lists.
    #[error("{0} cannot both serve and redirect; take another port for listen.http_redirect")]
    ServedAndRedirected(SocketAddr),
    /// A listener of the metrics twice.
    #[error("this stands in metrics.listen twice; remove one of them")]
    MetricsTwice,
    /// A listener of the metrics has another's address.
    #[error("{0} is a listener for guests already; take another port for metrics.listen")]
    MetricsTaken(SocketAddr),
    /// ComfyUI's port is a listener's.
    #[error("port {port} is already taken by {by}; choose another comfyui.port")]
    PortTaken { port: u16, by: SocketAddr },
    /// The guard's upstream is the guard.
    #[error(
        "{0} is an address of the guard itself, which would hand every request to itself; name ComfyUI's own address"
    )]
    Itself(SocketAddr),
    /// Port 0 as a destination.
    #[error("{0} has no port to connect to; name ComfyUI's own address and port")]
    NoPort(SocketAddr),
    /// An option of the guard's own.
    #[error("{argument} is the guard's to set; {cure}")]
    OwnedArgument { argument: String, cure: &'static str },
    /// A variable of the guard's own.
    #[error("{0} is the guard's to set and cannot be given to ComfyUI")]
    OwnedVariable(String),
    /// A process as root.
    #[error("no process of the guard and no ComfyUI runs as root; name a user without privileges")]
    Root,
    /// One user for two that are kept apart.
    #[error(
        "{first} and {second} are both \"{user}\", which would let one take over the other; give each a user of its own"
    )]
    SharedUser { first: &'static str, second: &'static str, user: String },
    /// A tree that would open API paths.
    #[error("\"{tree}\" lies in the API path \"{never}\" and would be open in name only; name folders of static files")]
    TreeInApi { tree: String, never: String },
    /// A limit of nothing.
    #[error("nothing could be uploaded; write a size such as \"100MB\"")]
    NoUpload,
    /// A session that ends before it is used, or a cookie that no browser keeps (RFC 6265bis section 5.5: 400 days).
    #[error(
        "a session of {0} is no use: write at least \"1m\" and at most \"400d\", which is as long as browsers keep a cookie"
    )]
    SessionLifetime(Span),
    /// The whole file system.
    #[error("\"/\" would let ComfyUI write everywhere; name the directories, or write comfyui.sandbox = \"off\"")]
    WritableEverywhere,
    /// A limit below what Python needs to load.
    #[error("ComfyUI cannot load within {0} of memory; write at least \"256MB\", and a model needs much more")]
    LittleMemory(Bytes),
    /// A limit that the kernel does not take, or nearly.
    #[error("{0} of a processor is too little; write at least 0.1")]
    LittleTime(Processors),
    /// A limit below what torch needs.
    #[error("{0} processes and threads are too few for ComfyUI; write at least 64")]
    FewTasks(u32),
    /// A stop that is a kill.
    #[error("ComfyUI needs time to stop without losing work; write at least \"1s\"")]
    NoTimeToStop,
}
