//! What the gateway is handed reads back as it was, in a format that does not describe itself.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Desk, LEAST};

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = postcard::to_stdvec(value).unwrap();
    assert_eq!(&postcard::from_bytes::<T>(&bytes).unwrap(), value);
}

#[test]
fn what_the_gateway_gets_survives_the_wire() {
    let text = "comfyui.external = \"127.0.0.1:9\"\n[auth]\nallowed_origins = [\"https://A.example\"]\nanonymous_websocket = \"passthrough\"\nframe_ancestors = [\"https://desk.example\"]\nsession_lifetime = \"7d\"\nbrowser_session_lifetime = \"1h30m\"\n[proxy]\ntrusted = [\"10.0.0.0/8\", \"fd00::1\"]\nmax_upload = \"3GB\"\nwebsocket_idle = \"1h\"\n[log]\nlevel = \"trace\"\naccess = true\n";
    for config in [Desk::with(text).config(), Desk::with(LEAST).config()] {
        round_trip(&config.auth);
        round_trip(&config.proxy);
        round_trip(&config.log);
    }
}
