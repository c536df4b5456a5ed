//! The terminal of a container: what is typed there. The engine holds it; what the program says comes through the follower.

use std::io;
use std::path::Path;
use std::pin::Pin;

use mete_agent_core::task_dir::TaskDir;
use mete_agent_core::task_dir::session::Size;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::container;
use super::engine::{Engine, EngineError};

/// Types into one terminal. When it is dropped the terminal stays as it is.
pub(crate) struct Keyboard {
    engine: Engine,
    container: String,
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Keyboard {
    /// Of the container of a task directory; `None`: it has no terminal.
    ///
    /// # Errors
    /// When the engine does not let it in, or the directory does not say which container it is.
    pub(crate) async fn of(dir: &TaskDir) -> Result<Option<Self>, EngineError> {
        let known = container::record(dir).map_err(|why| EngineError::Unknown { why })?;
        if known.terminal.is_none() {
            return Ok(None);
        }
        let engine = Engine::connect(Path::new(&known.socket)).await?;
        let attached = engine.attach_input(&known.id).await?;
        Ok(Some(Self {
            engine,
            container: known.id,
            input: attached.input,
        }))
    }

    /// All bytes, as fast as they are taken.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.write_all(bytes).await?;
        self.input.flush().await
    }

    /// Gives the terminal another size; its programs get SIGWINCH.
    pub(crate) async fn resize(&mut self, size: Size) {
        let _ = self.engine.resize(&self.container, size).await;
    }
}
