//! Where the masters are, and who the framework is.

use std::fmt;
use std::time::Duration;

use mete_model::{Capability, FrameworkId, Role};
use mete_proto::mesos::v1 as wire;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

/// An address or token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    /// Not an address at all.
    #[error("bad master address {address:?}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// An address, but not `http://host:port`. `https` comes with TLS, which is not carried yet.
    #[error("bad master address {address:?}: it is not http://host:port")]
    NotHttp {
        /// What was given.
        address: String,
    },
    /// An empty list.
    #[error("no master address is given")]
    None,
    /// A token that no header can carry. The token itself is not repeated.
    #[error("the token holds characters that a header cannot carry")]
    Token,
}

/// Longest time from SYN to an open connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two pings of an idle HTTP/2 connection; finds peers that vanished without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where the masters are and how to be let in.
#[derive(Clone)]
pub struct Connection {
    pub(crate) masters: Vec<Endpoint>,
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
}

impl Connection {
    /// One master: `http://127.0.0.1:5050`.
    ///
    /// # Errors
    /// [`BadAddress`] when it is not an address.
    pub fn to(address: &str) -> Result<Self, BadAddress> {
        Self::to_any([address])
    }

    /// Several masters; they are tried in turn until one lets us in.
    ///
    /// # Errors
    /// [`BadAddress`] names the first that is not an address; there must be one at least.
    pub fn to_any<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Result<Self, BadAddress> {
        let masters = addresses
            .into_iter()
            .map(endpoint)
            .collect::<Result<Vec<_>, BadAddress>>()?;
        if masters.is_empty() {
            return Err(BadAddress::None);
        }
        Ok(Self {
            masters,
            authorization: None,
        })
    }

    /// Presents a bearer token on every connection.
    ///
    /// # Errors
    /// [`BadAddress::Token`] when a header cannot carry it.
    pub fn with_token(mut self, token: &str) -> Result<Self, BadAddress> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| BadAddress::Token)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }
}

fn endpoint(address: &str) -> Result<Endpoint, BadAddress> {
    let endpoint =
        Endpoint::from_shared(address.to_owned()).map_err(|source| BadAddress::Address {
            address: address.to_owned(),
            source,
        })?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
        return Err(BadAddress::NotHttp {
            address: address.to_owned(),
        });
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true))
}

/// Never shows the token.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masters: Vec<String> = self
            .masters
            .iter()
            .map(|master| master.uri().to_string())
            .collect();
        f.debug_struct("Connection")
            .field("masters", &masters)
            .field("token", &self.authorization.is_some())
            .finish()
    }
}

/// Who a framework is and how it wants to be treated.
#[derive(Clone, Debug)]
pub struct FrameworkSpec {
    pub(crate) info: wire::FrameworkInfo,
    pub(crate) suppressed: bool,
    pub(crate) acknowledge: bool,
}

impl FrameworkSpec {
    /// A framework with this name, in role `*`, partition-aware, whose tasks end with it.
    pub fn new(name: impl Into<String>) -> Self {
        let info = wire::FrameworkInfo {
            name: name.into(),
            ..wire::FrameworkInfo::default()
        };
        Self {
            info,
            suppressed: false,
            acknowledge: true,
        }
        .capability(Capability::PartitionAware)
        .capability(Capability::MultiRole)
        .role(Role::any())
    }

    /// The id a former life of this framework had: it gets its tasks back.
    #[must_use]
    pub fn id(mut self, id: &FrameworkId) -> Self {
        self.info.id = Some(wire::FrameworkId::from(id));
        self
    }

    /// Takes resources in this role instead of `*`; said more than once, in each of these roles.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.info
            .roles
            .retain(|held| held != "*" && held != role.as_str());
        self.info.roles.push(role.as_str().to_owned());
        self
    }

    /// The user tasks run as when they name none; empty: as the agent.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.info.user = user.into();
        self
    }

    /// How long the framework may be away before the master ends its tasks. Zero, the default: they end as soon as the
    /// connection is lost. Whoever wants to come back sets it, and keeps its id.
    #[must_use]
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.info.failover_timeout = Some(timeout.as_secs_f64());
        self.info.checkpoint = Some(true);
        self
    }

    /// What the framework understands besides.
    #[must_use]
    pub fn capability(mut self, capability: Capability) -> Self {
        let name = wire::framework_info::capability::Type::from(capability);
        let capability = wire::framework_info::Capability {
            r#type: Some(name.into()),
        };
        if !self.info.capabilities.contains(&capability) {
            self.info.capabilities.push(capability);
        }
        self
    }

    /// Who it says it is; must be the principal of its token when there is one.
    #[must_use]
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.info.principal = Some(principal.into());
        self
    }

    /// Where it runs and where its pages are, for people.
    #[must_use]
    pub fn found_at(mut self, hostname: impl Into<String>, webui_url: Option<String>) -> Self {
        self.info.hostname = Some(hostname.into());
        self.info.webui_url = webui_url;
        self
    }

    /// Begins without offers in all its roles, until [`revive`](crate::Client::revive).
    #[must_use]
    pub fn suppressed(mut self) -> Self {
        self.suppressed = true;
        self
    }

    /// Updates are acknowledged by [`Client::acknowledge`](crate::Client::acknowledge), not by themselves.
    #[must_use]
    pub fn explicit_acknowledgements(mut self) -> Self {
        self.acknowledge = false;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_and_has_a_host() {
        for bad in [
            "",
            "127.0.0.1:5050",
            "https://master:5050",
            "not an address",
            "/state",
        ] {
            assert!(Connection::to(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(Connection::to_any([]), Err(BadAddress::None)));
        assert!(Connection::to("http://127.0.0.1:5050").is_ok());
    }

    #[test]
    fn a_token_is_never_shown() {
        let connection = Connection::to("http://127.0.0.1:5050").expect("an address");

        let shown = format!("{:?}", connection.with_token("hush").expect("a token"));

        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("127.0.0.1:5050"), "{shown}");
    }

    #[test]
    fn a_bad_token_is_not_repeated() {
        let connection = Connection::to("http://127.0.0.1:5050").expect("an address");

        let error = connection.with_token("hu\nsh").expect_err("no header");

        assert!(!format!("{error:?} {error}").contains("hu"), "{error:?}");
    }
}
