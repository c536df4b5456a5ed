//! What an operator may say of the networks of containers.

use std::path::PathBuf;

use super::Range;

/// Networks of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct NetworkOptions {
    /// Addresses of containers on the bridge of this agent, as 172.31.5.0/24; the first of them is the bridge's. Default: a
    /// range of 254 within 172.31.0.0/16 that nothing on this machine uses.
    #[arg(long, value_name = "CIDR")]
    pub bridge_subnet: Option<Range>,
    /// Directory with descriptions of networks by CNI (`*.conflist`, `*.conf`), which tasks join by name.
    #[arg(long, value_name = "DIR")]
    pub network_cni_config: Option<PathBuf>,
    /// Directory with plugins of CNI. Given more than once, they are searched in turn.
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/cni")]
    pub network_cni_plugins: Vec<PathBuf>,
}
