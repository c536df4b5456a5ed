//! Which heap this process has: jemalloc for the daemons that hold a cluster in memory, the system's for all others.
//!
//! A busy master or service framework lives in small pieces of memory, which jemalloc hands out and takes back in a
//! third of the time. An agent has hundreds of tasks, a shim one; there the system's heap takes half of the memory
//! ([why](../../docs/decisions/the-daemon-chooses-its-heap.md)).
//!
//! The choice falls with the first allocation, before `main`, and is never taken back: whatever is freed goes back to the
//! heap that it came from.

#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; what is asked of this one is handed on as it came"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{Mode, OFlags};
use tikv_jemallocator::Jemalloc;

/// Those who hold a cluster in memory, by the first argument that names them.
const HOLD_A_CLUSTER: [&[u8]; 2] = [b"master", b"services"];

/// Nothing has been allocated so far.
const UNDECIDED: u8 = 0;
const SYSTEM: u8 = 1;
const JEMALLOC: u8 = 2;

#[global_allocator]
static HEAP: Heap = Heap(AtomicU8::new(UNDECIDED));

/// One of the constants above.
struct Heap(AtomicU8);

impl Heap {
    #[inline]
    fn is_jemalloc(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            JEMALLOC => true,
            SYSTEM => false,
            _ => self.choose(),
        }
    }

    /// Should two threads choose at the same time, the first one's choice is that of both.
    #[cold]
    fn choose(&self) -> bool {
        let large = holds_a_cluster();
        let wanted = if large { JEMALLOC } else { SYSTEM };
        let choice = &self.0;
        choice
            .compare_exchange(UNDECIDED, wanted, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(|before| before == JEMALLOC, |_| large)
    }
}

/// Whether the first argument names one of those who do. Asked of the kernel, because `std::env` allocates; when it does not
/// say, nobody is named.
fn holds_a_cluster() -> bool {
    // The path of a program is bounded by 4,096 bytes, and nothing after the first argument is of interest.
    let mut line = [0; 4096 + 64];
    let Ok(file) = rustix::fs::open(
        c"/proc/self/cmdline",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return false;
    };
    let Ok(length) = rustix::io::read(&file, &mut line) else {
        return false;
    };
    let said = line.get(..length).unwrap_or_default();
    let first = said.split(|&byte| byte == 0).nth(1);
    first.is_some_and(|first| HOLD_A_CLUSTER.contains(&first))
}

// SAFETY: each call goes unchanged to the one allocator that has had all calls since the first.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.is_jemalloc() {
            unsafe { Jemalloc.alloc(layout) }
        } else {
            unsafe { System.alloc(layout) }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if self.is_jemalloc() {
            unsafe { Jemalloc.alloc_zeroed(layout) }
        } else {
            unsafe { System.alloc_zeroed(layout) }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if self.is_jemalloc() {
            unsafe { Jemalloc.dealloc(pointer, layout) }
        } else {
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.is_jemalloc() {
            unsafe { Jemalloc.realloc(pointer, layout, size) }
        } else {
            unsafe { System.realloc(pointer, layout, size) }
        }
    }
}
