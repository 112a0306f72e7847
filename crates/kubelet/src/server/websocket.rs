//! The upgrade of a request to a WebSocket, with the choice of a subprotocol.

use base64::Engine;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::lookup::Refusal;
use super::routes::{Body, full};

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How streams are put into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A first byte names the channel.
    V4,
    /// In addition `255, channel` closes a channel.
    V5,
}

impl Protocol {
    const ALL: [Protocol; 2] = [Protocol::V5, Protocol::V4];

    fn name(self) -> &'static str {
        match self {
            Protocol::V4 => "v4.channel.k8s.io",
            Protocol::V5 => "v5.channel.k8s.io",
        }
    }

    /// The best of what a client offers.
    fn choose(offered: &str) -> Option<Protocol> {
        let offered: Vec<&str> = offered.split(',').map(str::trim).collect();
        Protocol::ALL.into_iter().find(|protocol| offered.contains(&protocol.name()))
    }
}

fn header(request: &Request<Incoming>, name: header::HeaderName) -> String {
    let values = request.headers().get_all(name);
    let values: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn is_key(key: &str) -> bool {
    base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// An upgrade that is agreed on.
pub(crate) struct Upgrade {
    pub(crate) response: Response<Body>,
    pub(crate) protocol: Protocol,
    upgraded: OnUpgrade,
}

impl Upgrade {
    /// The answer to send, and what becomes of the connection after that.
    pub(crate) fn split(self) -> (Response<Body>, Protocol, impl Future<Output = hyper::Result<Socket>>) {
        let socket = async move {
            let stream = TokioIo::new(self.upgraded.await?);
            Ok(WebSocketStream::from_raw_socket(stream, Role::Server, None).await)
        };
        (self.response, self.protocol, socket)
    }
}

/// `Err` is the answer to a request that cannot be upgraded.
pub(crate) fn upgrade(mut request: Request<Incoming>) -> Result<Upgrade, Refusal> {
    let refuse = |text: &str| Err((StatusCode::BAD_REQUEST, format!("unable to upgrade: {text}")));
    let wants = header(&request, header::UPGRADE).eq_ignore_ascii_case("websocket");
    let key = header(&request, header::SEC_WEBSOCKET_KEY);
    if !wants || !is_key(&key) {
        return refuse("a WebSocket upgrade is required");
    }
    let Some(protocol) = Protocol::choose(&header(&request, header::SEC_WEBSOCKET_PROTOCOL)) else {
        return refuse("unable to negotiate protocol");
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return refuse("bad key");
    };
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name()));
    let upgraded = hyper::upgrade::on(&mut request);
    Ok(Upgrade { response, protocol, upgraded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_protocol_is_chosen() {
        assert_eq!(Protocol::choose("v4.channel.k8s.io, v5.channel.k8s.io"), Some(Protocol::V5));
        assert_eq!(Protocol::choose("v4.channel.k8s.io"), Some(Protocol::V4));
        assert_eq!(Protocol::choose("base64.channel.k8s.io"), None);
    }
}
