//! TTYInfo of a container: the terminal of the command that runs in it.

use mete_model::WindowSize;

use super::{ConvertError, Within as _};
use crate::mesos::v1 as wire;
use wire::tty_info::WindowSize as Window;

/// The terminal that a container asks for. One that does not say its size, or says 0, is a usual one.
///
/// # Errors
/// When a side of it is no number of characters.
pub(super) fn read(
    container: Option<&wire::ContainerInfo>,
) -> Result<Option<WindowSize>, ConvertError> {
    let info = container.and_then(|container| container.tty_info.as_ref());
    let size = info.map(|info| size(info).within("tty_info")).transpose()?;
    Ok(size.map(WindowSize::or_usual))
}

/// Has the task's message ask for a terminal, or for none, if it does not already.
pub fn write(info: &mut wire::TaskInfo, terminal: Option<WindowSize>) {
    if read(info.container.as_deref()) == Ok(terminal) {
        return;
    }
    let container = info.container.get_or_insert_with(|| {
        let mut container = wire::ContainerInfo::default();
        container.set_type(wire::container_info::Type::Mesos);
        Box::new(container)
    });
    container.tty_info = terminal.map(|size| wire::TtyInfo {
        window_size: Some(Window {
            rows: size.rows.into(),
            columns: size.columns.into(),
        }),
    });
}

/// The size of a terminal. A side of it may be 0: Mesos' own command line gives a terminal that size before the right one, so that
/// its program draws all anew.
///
/// # Errors
/// When a side of it is no number of characters.
pub fn size(info: &wire::TtyInfo) -> Result<WindowSize, ConvertError> {
    let Some(Window { rows, columns }) = info.window_size else {
        return Ok(WindowSize::default());
    };
    let side = |count: u32| u16::try_from(count).ok();
    let size = side(rows).zip(side(columns));
    size.map(|(rows, columns)| WindowSize { rows, columns })
        .ok_or_else(|| {
            let shown = format_args!("{rows} rows of {columns} columns");
            ConvertError::bad_value("window_size", shown, "both are at most 65535")
        })
}
