//! What people see while a cluster comes up: a line a daemon, a line an app; plain lines where there is no terminal.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::{OwoColorize as _, Stream};

/// Lines that change in place, until the end of the coming up; from then on lines that stay.
#[derive(Debug)]
pub(super) struct View {
    /// What is written below lines that change in place would be overwritten by them.
    live: Cell<bool>,
    bars: MultiProgress,
    lines: RefCell<BTreeMap<String, (ProgressBar, String)>>,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            live: Cell::new(std::io::stderr().is_terminal()),
            bars: MultiProgress::new(),
            lines: RefCell::default(),
        }
    }

    pub(super) fn starting(&self, name: &str) {
        self.line(name, "starting", false);
    }

    pub(super) fn started(&self, name: &str) {
        self.line(
            name,
            &"up"
                .if_supports_color(Stream::Stderr, |text| text.green())
                .to_string(),
            true,
        );
    }

    /// An app, in words; `done` when it is as wanted.
    pub(super) fn app(&self, id: &str, words: &str, done: bool) {
        self.line(id, words, done);
    }

    pub(super) fn note(&self, text: &str) {
        if self.live.get() {
            let _ = self.bars.println(text);
        } else {
            crate::complain!("mete: {text}");
        }
    }

    /// Everything is healthy: where to look.
    pub(super) fn ready(&self, places: &[(String, String)]) {
        self.end();
        let mut text = String::from("\n");
        for (name, place) in places {
            let place = place.if_supports_color(Stream::Stdout, |text| text.cyan());
            text.push_str(&format!("  {name:14} {place}\n"));
        }
        // The cluster stays although nobody may be reading any more.
        let _ = writeln!(
            std::io::stdout(),
            "{text}\n  Ctrl-C takes everything down; the next `mete up` comes back with the same apps."
        );
    }

    /// Lines stay as they are.
    pub(super) fn end(&self) {
        if !self.live.replace(false) {
            return;
        }
        for (bar, _) in self.lines.borrow().values() {
            bar.finish();
        }
    }

    fn line(&self, name: &str, words: &str, done: bool) {
        let mut lines = self.lines.borrow_mut();
        let (bar, last) = lines.entry(name.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template("  {spinner} {prefix:14} {msg}");
            let bar = if self.live.get() {
                self.bars.add(ProgressBar::new_spinner())
            } else {
                ProgressBar::hidden()
            };
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            (bar, String::new())
        });
        if last == words {
            return;
        }
        words.clone_into(last);
        bar.set_message(words.to_owned());
        if done {
            bar.disable_steady_tick();
            bar.tick();
        }
        if !self.live.get() {
            crate::complain!("mete: {name} {words}");
        }
    }
}
