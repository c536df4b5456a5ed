//! Each action to the stream it belongs to. Nothing here waits.

use mete_daemon::event_loop;
use mete_master_core::{Action, Event};

use crate::grpc::messages::{self, LastFramework};
use crate::grpc::{About, events};
use crate::links::Links;

/// Carries out what the cluster decides.
pub(crate) struct Hands {
    pub(crate) links: Links,
    pub(crate) about: About,
    pub(crate) last: LastFramework,
}

impl event_loop::Hands<Action> for Hands {
    fn act(&mut self, action: Action) {
        match action {
            Action::ToFramework { link, event } => {
                let is_first = matches!(event, Event::Subscribed { .. });
                self.links.send(link, events::encode(event, &self.about));
                if is_first {
                    // As in Mesos: before whatever happens next.
                    self.links.send(link, events::heartbeat());
                }
            }
            Action::ToAgent { link, message } => {
                let message = messages::encode(message, &self.about, &mut self.last);
                self.links.send(link, message);
            }
            Action::SayWhenRead { link } => self.links.say_when_read(link),
            Action::Close { link } => self.links.close(link),
        }
    }
}
