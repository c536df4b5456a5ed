//! What HAProxy says of its servers: one row per server, read from `show servers state` and `show stat`.
//!
//! Columns are found by their names, so that a newer HAProxy may add some. A table without the columns that are needed
//! is an error; nothing is guessed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::runtime::RuntimeError;

/// What people and we have told HAProxy to do with a server, whatever its checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Takes new sessions as long as its checks pass.
    Ready,
    /// Ends its sessions and takes no new ones but those of its sticky clients.
    Drain,
    /// Takes none; what it has goes on.
    Maintenance,
}

/// One server as one worker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The backend it is in.
    pub backend: String,
    /// Its name there.
    pub server: String,
    /// Where it is; `None` for what is no IP address and port, which we never set.
    pub address: Option<SocketAddr>,
    /// What it has been told.
    pub admin: Admin,
    /// Whether its checks let it take sessions.
    pub is_up: bool,
    /// Whether it is being checked at all.
    pub is_checked: bool,
    /// Seconds since its state changed.
    pub unchanged_secs: u64,
}

/// Bits of `srv_admin_state`: forced, inherited and configured maintenance, and one for names that do not resolve.
const MAINTENANCE_BITS: u32 = 0x01 | 0x02 | 0x04 | 0x20;
/// Forced and inherited drain.
const DRAIN_BITS: u32 = 0x08 | 0x10;
/// The bit of `srv_check_state` that says that checks are on.
const CHECK_ENABLED_BIT: u32 = 0x04;

/// Reads the answer to `show servers state`.
///
/// # Errors
/// When the table lacks a column that is needed, or a row is cut short.
pub fn read_states(answer: &str) -> Result<Vec<Row>, RuntimeError> {
    const COMMAND: &str = "show servers state";
    let wrong = |detail: String| RuntimeError::Unreadable {
        command: COMMAND,
        detail,
    };
    let mut lines = answer.lines().filter(|line| !line.trim().is_empty());
    let header = lines
        .find(|line| line.starts_with("# "))
        .ok_or_else(|| wrong("no table".to_owned()))?;
    let names: Vec<&str> = header.trim_start_matches("# ").split_whitespace().collect();
    let column = |name: &str| {
        names
            .iter()
            .position(|have| *have == name)
            .ok_or_else(|| wrong(format!("no column {name}")))
    };
    let [backend, server, address, port] = [
        column("be_name")?,
        column("srv_name")?,
        column("srv_addr")?,
        column("srv_port")?,
    ];
    let [operational, admin] = [column("srv_op_state")?, column("srv_admin_state")?];
    let [check, unchanged] = [
        column("srv_check_state")?,
        column("srv_time_since_last_change")?,
    ];
    let mut rows = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |at: usize| {
            words
                .get(at)
                .copied()
                .ok_or_else(|| wrong(format!("a short row: {line}")))
        };
        let ip: Option<IpAddr> = word(address)?.parse().ok();
        let port: Option<u16> = word(port)?.parse().ok();
        let bits = word(admin)?.parse::<u32>().unwrap_or_default();
        rows.push(Row {
            backend: word(backend)?.to_owned(),
            server: word(server)?.to_owned(),
            address: ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port)),
            admin: admin_state(bits),
            is_up: word(operational)? != "0",
            is_checked: word(check)?.parse::<u32>().unwrap_or_default() & CHECK_ENABLED_BIT != 0,
            unchanged_secs: word(unchanged)?.parse().unwrap_or_default(),
        });
    }
    Ok(rows)
}

fn admin_state(bits: u32) -> Admin {
    if bits & MAINTENANCE_BITS != 0 {
        Admin::Maintenance
    } else if bits & DRAIN_BITS != 0 {
        Admin::Drain
    } else {
        Admin::Ready
    }
}

/// Sessions that servers have or that wait for them, by backend and server.
pub type Sessions = BTreeMap<(String, String), u64>;

/// Adds the sessions in an answer to `show stat` to those already counted.
///
/// # Errors
/// When a table lacks a column that is needed.
pub fn add_sessions(answer: &str, sessions: &mut Sessions) -> Result<(), RuntimeError> {
    const COMMAND: &str = "show stat";
    let wrong = |detail: &str| RuntimeError::Unreadable {
        command: COMMAND,
        detail: detail.to_owned(),
    };
    let mut columns: Option<(usize, usize)> = None;
    for line in answer.lines() {
        if let Some(header) = line.strip_prefix("# pxname,svname,") {
            let at = |name: &str| {
                header
                    .split(',')
                    .position(|have| have == name)
                    .map(|at| at + 2)
            };
            columns = at("qcur").zip(at("scur"));
            continue;
        }
        let words: Vec<&str> = line.split(',').collect();
        let [backend, server, _, ..] = words.as_slice() else {
            continue;
        };
        // Names and counts stand before the first column that may hold a quoted comma.
        let (queued, current) =
            columns.ok_or_else(|| wrong("no columns pxname, svname, qcur, scur"))?;
        let count = |at: usize| {
            words
                .get(at)
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or_default()
        };
        *sessions
            .entry(((*backend).to_owned(), (*server).to_owned()))
            .or_default() += count(queued) + count(current);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n\
        4 web_10000 1 s1 127.0.0.1 2 0 1 1 6 6 3 3 6 0 0 0 - 19001 - 0 0 - - 0\n\
        4 web_10000 2 s2 127.0.0.1 0 1 1 1 45 6 3 2 3 0 0 0 - 19002 - 0 0 - - 0\n\
        4 web_10000 3 s3 127.0.0.1 2 8 1 1 6 6 3 2 6 0 0 0 - 19003 - 0 0 - - 0\n\n";

    #[test]
    fn states_are_read_by_column_name() {
        let rows = read_states(STATES).expect("a good table");

        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.server.as_str(), row.admin, row.is_up, row.is_checked))
            .collect();
        assert_eq!(
            told,
            [
                ("s1", Admin::Ready, true, true),
                ("s2", Admin::Maintenance, false, false),
                ("s3", Admin::Drain, true, true)
            ]
        );
        assert_eq!(rows[1].address, Some(([127, 0, 0, 1], 19002).into()));
        assert_eq!(rows[1].unchanged_secs, 45);
        assert!(read_states("Unknown command").is_err());
        assert!(read_states("1\n# be_id be_name\n").is_err());
    }

    #[test]
    fn sessions_of_several_workers_add_up() {
        let answer = "# pxname,svname,qcur,qmax,scur,smax\nweb_1,s1,1,0,2,9\n\n# pxname,svname,qcur,qmax,scur,smax\nweb_2,s1,0,0,4,9\n\n";
        let mut sessions = Sessions::new();

        add_sessions(answer, &mut sessions).expect("a good table");
        add_sessions(answer, &mut sessions).expect("a good table");

        assert_eq!(sessions[&("web_1".to_owned(), "s1".to_owned())], 6);
        assert_eq!(sessions[&("web_2".to_owned(), "s1".to_owned())], 8);
        assert!(add_sessions("a,b,c,d,e", &mut Sessions::new()).is_err());
    }
}
