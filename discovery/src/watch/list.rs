//! The list as its events tell it: a snapshot, then changes, each a version on.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_proto::rest::backends::{self, Backends, Change, EventId, Heartbeat, Service, ServiceKey};

use super::sse::Event;

/// What an event came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The list is new.
    List(Arc<Backends>),
    /// The service framework lives; the list is as it was.
    Alive,
    /// An event of a kind that nobody here knows.
    Unknown,
}

/// Why the events do not add up. The stream is to be opened anew, without an id.
#[derive(Debug, thiserror::Error)]
pub enum BadList {
    /// Not the JSON that the event's name promises.
    #[error("event {name} cannot be read")]
    Unreadable {
        /// The event's name.
        name: &'static str,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A change before any snapshot, or of another epoch.
    #[error("a change of epoch {of:?} while the list is of {have:?}")]
    OtherEpoch {
        /// Of the change.
        of: String,
        /// Of the list, if there is one.
        have: Option<String>,
    },
    /// The service framework is at a version whose change has not come.
    #[error("a heartbeat at version {told} while the list is at {have}")]
    Behind {
        /// Of the heartbeat.
        told: u64,
        /// Of the list.
        have: u64,
    },
}

/// The list so far.
#[derive(Debug, Default)]
pub struct Follow {
    epoch: Option<String>,
    version: u64,
    services: BTreeMap<ServiceKey, Service>,
}

impl Follow {
    /// The id to resume from.
    pub fn last_event_id(&self) -> Option<String> {
        let epoch = self.epoch.clone()?;
        Some(
            EventId {
                epoch,
                version: self.version,
            }
            .to_string(),
        )
    }

    /// Forgets everything, so that the next stream begins with a snapshot.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes one event.
    ///
    /// # Errors
    /// When it does not fit; the list stays as it was.
    pub fn take(&mut self, event: &Event) -> Result<Followed, BadList> {
        match event.name.as_str() {
            backends::SNAPSHOT => self.snapshot(read(backends::SNAPSHOT, &event.data)?),
            backends::CHANGE => self.change(read(backends::CHANGE, &event.data)?),
            backends::HEARTBEAT => self.heartbeat(&read(backends::HEARTBEAT, &event.data)?),
            _ => Ok(Followed::Unknown),
        }
    }

    fn snapshot(&mut self, all: Backends) -> Result<Followed, BadList> {
        self.epoch = Some(all.epoch);
        self.version = all.version;
        self.services = all
            .services
            .into_iter()
            .map(|service| (service.key(), service))
            .collect();
        Ok(self.list())
    }

    fn change(&mut self, change: Change) -> Result<Followed, BadList> {
        if self.epoch.as_ref() != Some(&change.epoch) {
            return Err(BadList::OtherEpoch {
                of: change.epoch,
                have: self.epoch.clone(),
            });
        }
        if change.version <= self.version {
            return Ok(Followed::Alive); // Told again after a reconnect.
        }
        self.version = change.version;
        for key in &change.removed {
            self.services.remove(key);
        }
        self.services.extend(
            change
                .services
                .into_iter()
                .map(|service| (service.key(), service)),
        );
        Ok(self.list())
    }

    fn heartbeat(&self, beat: &Heartbeat) -> Result<Followed, BadList> {
        match &self.epoch {
            Some(epoch) if *epoch == beat.epoch && beat.version > self.version => {
                Err(BadList::Behind {
                    told: beat.version,
                    have: self.version,
                })
            }
            Some(epoch) if *epoch != beat.epoch => Err(BadList::OtherEpoch {
                of: beat.epoch.clone(),
                have: Some(epoch.clone()),
            }),
            Some(_) | None => Ok(Followed::Alive),
        }
    }

    fn list(&self) -> Followed {
        Followed::List(Arc::new(Backends {
            epoch: self.epoch.clone().unwrap_or_default(),
            version: self.version,
            services: self.services.values().cloned().collect(),
        }))
    }
}

fn read<T: serde::de::DeserializeOwned>(name: &'static str, data: &str) -> Result<T, BadList> {
    serde_json::from_str(data).map_err(|source| BadList::Unreadable { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.into(),
            data: data.into(),
            id: None,
        }
    }

    fn service(app: &str, port: u16) -> String {
        format!(
            r#"{{"appId":"{app}","portIndex":0,"servicePort":{port},"protocol":"tcp","mode":"http","labels":{{}},"instances":[]}}"#
        )
    }

    fn snapshot(version: u64, services: &[String]) -> Event {
        let text = format!(
            r#"{{"epoch":"e-1","version":{version},"services":[{}]}}"#,
            services.join(",")
        );
        event("snapshot", &text)
    }

    fn apps(followed: Followed) -> Vec<String> {
        let Followed::List(list) = followed else {
            panic!("no list but {followed:?}")
        };
        list.services
            .iter()
            .map(|service| service.app_id.clone())
            .collect()
    }

    #[test]
    fn changes_replace_and_remove_whole_services() {
        let mut follow = Follow::default();
        follow
            .take(&snapshot(3, &[service("/a", 1), service("/b", 2)]))
            .expect("a snapshot");

        let change = format!(
            r#"{{"epoch":"e-1","version":4,"services":[{}],"removed":[{{"appId":"/b","portIndex":0,"servicePort":2}}],"more":1}}"#,
            service("/c", 3)
        );
        let after = follow.take(&event("change", &change)).expect("it fits");

        assert_eq!(apps(after), ["/a", "/c"]);
        assert_eq!(follow.last_event_id().as_deref(), Some("e-1-4"));
        assert_eq!(
            follow.take(&event("change", &change)).expect("told again"),
            Followed::Alive
        );
    }

    #[test]
    fn a_change_without_its_snapshot_is_refused() {
        let change = event("change", r#"{"epoch":"e-2","version":4}"#);
        let mut follow = Follow::default();

        assert!(follow.take(&change).is_err());
        follow.take(&snapshot(3, &[])).expect("a snapshot");
        assert!(follow.take(&change).is_err());
        assert_eq!(follow.last_event_id().as_deref(), Some("e-1-3"));
    }

    #[test]
    fn a_heartbeat_tells_what_was_missed() {
        let mut follow = Follow::default();
        follow.take(&snapshot(3, &[])).expect("a snapshot");

        let beat = |text: &str| event("heartbeat", text);
        assert_eq!(
            follow
                .take(&beat(r#"{"epoch":"e-1","version":3}"#))
                .expect("alive"),
            Followed::Alive
        );
        assert!(
            follow
                .take(&beat(r#"{"epoch":"e-1","version":4}"#))
                .is_err()
        );
        assert!(
            follow
                .take(&beat(r#"{"epoch":"e-9","version":1}"#))
                .is_err()
        );
        assert!(follow.take(&beat("{}")).is_err());
        assert_eq!(
            follow.take(&event("weather", "")).expect("passed over"),
            Followed::Unknown
        );
    }
}
