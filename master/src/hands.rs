//! Each action to the stream it belongs to. Nothing here waits.

use mete_daemon::event_loop;
use mete_master_core::Action;

use crate::grpc::{About, events, messages};
use crate::links::Links;

/// Carries out what the cluster decides.
pub(crate) struct Hands {
    pub(crate) links: Links,
    pub(crate) about: About,
}

impl event_loop::Hands<Action> for Hands {
    fn act(&mut self, action: Action) {
        match action {
            Action::ToFramework { link, event } => {
                let event = events::to_wire(event, &self.about);
                self.links.send_to_framework(link, event);
            }
            Action::ToAgent { link, message } => {
                let message = messages::to_wire(message, &self.about);
                self.links.send_to_agent(link, message);
            }
            Action::SayWhenRead { link } => self.links.say_when_read(link),
            Action::Close { link } => self.links.close(link),
        }
    }
}
